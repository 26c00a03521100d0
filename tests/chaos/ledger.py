"""The harness's own book of accepted jobs, compared with SQL and the artifacts at the end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tests.stack import PATIENCE
from worker.errors import CorruptArtifact, DatabaseUnavailable
from worker.jobs.states import FINAL, LEGAL
from worker.jobs.tables import job_events, jobs
from worker.operations.checks.usage import UsageSums
from worker.storage.artifacts import ArtifactStore
from worker.storage.database import Database
from worker.storage.tables import files, models

# Events that are moves; the others leave the state as it is.
MOVES = frozenset(LEGAL)

Check = Callable[[Any], bool]


@dataclass
class Verdict:
    """What must be zero, always."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    illegal: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.wrong or self.illegal)


@dataclass
class Entry:
    """An accepted job: how it may end, and whether what it published is right."""

    ends: Sequence[str]
    right: Check


class Ledger:
    """Write down every job that was answered with 2xx, then compare."""

    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store
        self.entries: dict[str, Entry] = {}

    def note(
        self, job_id: str, *, ends: Sequence[str] = ("succeeded",), right: Check = bool
    ) -> None:
        self.entries[job_id] = Entry(ends, right)

    def row(self, job_id: str) -> Any:
        with self._database.read() as connection:
            return connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()

    def events(self, job_id: str) -> list[Any]:
        with self._database.read() as connection:
            return list(
                connection.execute(
                    sa.select(job_events)
                    .where(job_events.c.job_id == job_id)
                    .order_by(job_events.c.id)
                )
            )

    def claims_after(self, job_id: str, moment: float) -> list[float]:
        """When the job was claimed after a moment, in seconds since 1970."""
        return [
            event.created_at
            for event in self.events(job_id)
            if event.type == "running" and event.created_at > moment
        ]

    def steps_since_checkpoint(self, job_id: str, reached: int, moment: float) -> int:
        """That a training which had come so far makes again where it is claimed at a moment."""
        kept = [
            event.data["step"]
            for event in self.events(job_id)
            if event.type == "checkpoint" and event.created_at < moment
        ]
        return max(0, reached - max(kept, default=0))

    def count(self, *conditions: Any) -> int:
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(jobs).where(*conditions)
            return int(connection.execute(query).scalar_one())

    def wait(self, seconds: float = PATIENCE) -> None:
        """Until everything accepted has ended; what has not by then counts as lost."""
        deadline = time.monotonic() + seconds
        open_jobs = list(self.entries)
        while open_jobs and time.monotonic() < deadline:
            try:
                row = self.row(open_jobs[-1])
            except DatabaseUnavailable:
                row = None
            if row is not None and row.state in FINAL:
                open_jobs.pop()
            else:
                time.sleep(0.05)

    def verdict(self) -> Verdict:
        found = Verdict()
        for job_id, entry in self.entries.items():
            row = self.row(job_id)
            if row is None or row.state not in FINAL or row.state not in entry.ends:
                state = "gone" if row is None else f"{row.state} {row.error}"
                found.lost.append(f"{job_id}: {state}")
                continue
            events = self.events(job_id)
            found.illegal += [f"{job_id}: {fault}" for fault in _faults(events, row)]
            if self._published(job_id) > 1:
                found.twice.append(job_id)
            if row.state == "succeeded" and not (self._whole(job_id) and entry.right(row)):
                found.wrong.append(job_id)
        sums = UsageSums(self._database).look()
        found.wrong += [f"usage of {each.id}: {each.detail}" for each in sums]
        return found

    def settle(self, seconds: float = PATIENCE) -> Verdict:
        """Wait, compare, and begin a new page."""
        self.wait(seconds)
        verdict = self.verdict()
        self.entries = {}
        return verdict

    def _published(self, job_id: str) -> int:
        """Models of the job that are no checkpoints, or output files of the same kind."""
        with self._database.read() as connection:
            made = connection.execute(
                sa.select(sa.func.count())
                .select_from(models)
                .where(models.c.job_id == job_id, ~models.c.id.contains(":ckpt-step-"))
            ).scalar_one()
            written = connection.execute(
                sa.select(sa.func.count())
                .select_from(files)
                .where(files.c.filename.startswith(f"{job_id}_"))
                .group_by(files.c.filename)
            ).scalars()
            return max([int(made), *map(int, written)])

    def _whole(self, job_id: str) -> bool:
        """Whether all that the job published has the bytes of its manifest."""
        with self._database.read() as connection:
            names = {
                *connection.execute(
                    sa.select(models.c.artifact).where(models.c.job_id == job_id)
                ).scalars(),
                *connection.execute(
                    sa.select(files.c.artifact).where(files.c.filename.startswith(f"{job_id}_"))
                ).scalars(),
            }
        try:
            for name in names:
                self._store.verify(name)
        except (CorruptArtifact, FileNotFoundError):
            return False
        return True


def _faults(events: Sequence[Any], row: Any) -> list[str]:
    """Moves that the drawing in worker/jobs/states.py does not have, and gaps in the numbers."""
    faults = []
    if [event.id for event in events] != list(range(1, len(events) + 1)):
        faults.append("events are not numbered from 1 without gaps")
    moves = [event for event in events if event.type in MOVES]
    states = [event.type for event in moves]
    if states[:1] != ["queued"]:
        faults.append(f"begins with {states[:1]}")
    for before, after in itertools.pairwise(states):
        if after not in LEGAL[before]:
            faults.append(f"{before} → {after}")
    if states[-1:] != [row.state]:
        faults.append(f"the last move is to {states[-1:]}, the row says {row.state}")
    claims = [event.data["claim"] for event in moves if event.type == "running"]
    if claims != list(range(1, len(claims) + 1)):
        faults.append(f"claims {claims}")
    return faults
