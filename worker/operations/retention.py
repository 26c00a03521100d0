"""Removes what ended jobs leave when its time is over, by the settings ``keep_…_days``.

One process does it at a time. Jobs are walked by the time of their end, in pages that are read
without a lock; what is found is removed in small transactions, a job each, that look again. Jobs
themselves, their usage and what was billed stay.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, and_, or_, select
from sqlalchemy.engine import Connection, Row

from worker.backend import Backend
from worker.contracts import BATCH, TRAINING
from worker.errors import DatabaseUnavailable, LeaseLost
from worker.jobs.states import FINAL
from worker.jobs.tables import in_state, jobs
from worker.operations.retained import Checkpoints, Events, Leftover, Results, Taken
from worker.processes.chores import Chore
from worker.tenants.audit import OPERATOR, record

LOG = logging.getLogger(__name__)

DAY = 86_400.0
PASS_SECONDS = 3600.0
LOOK_SECONDS = 60.0  # between two looks whether a pass is due
PAGE = 500
COLUMNS: Sequence[Column[Any]] = [
    jobs.c[name] for name in ("id", "tenant", "kind", "state", "finished_at", "result")
]
START = (0.0, "")


class Retention:
    """One process's part in it; one thread uses it."""

    def __init__(self, backend: Backend, *, every: float = PASS_SECONDS) -> None:
        settings = backend.settings
        kept: tuple[tuple[Leftover, float], ...] = (
            (Events(), settings.keep_events_days),
            (Results(), settings.keep_results_days),
            (Checkpoints(), settings.keep_checkpoints_days),
        )
        self._backend = backend
        self._kept = [(leftover, days * DAY) for leftover, days in kept if days > 0]
        self._chore = Chore(backend.database, "retention", every=every)
        # By leftover and queue, how far the walk has come: all before is done, but for `_again`.
        self._places: dict[tuple[str, str], tuple[float, str]] = {}
        self._again: dict[str, set[str]] = {leftover.name: set() for leftover, _ in self._kept}

    @property
    def wanted(self) -> bool:
        """Whether anything is to be removed ever."""
        return bool(self._kept)

    def run(self, stop: threading.Event) -> None:
        """Pass by pass until told to stop; outages are ridden out."""
        while self.wanted and not stop.is_set():
            try:
                self.run_once(stop)
            except DatabaseUnavailable as error:
                LOG.warning("%s", error.message)
            except Exception:
                LOG.exception("a pass of the retention failed; the next one tries again")
            stop.wait(LOOK_SECONDS)

    def run_once(self, stop: threading.Event | None = None) -> Mapping[str, int] | None:
        """One pass; how much went of what. None: it is not due, or another process does it.

        Raises DatabaseUnavailable.
        """
        if not self.wanted or not self._chore.begin():
            return None
        removed: Counter[str] = Counter()
        done = False
        try:
            for leftover, seconds in self._kept:
                for job_id in self._candidates(leftover, seconds):
                    if stop is not None and stop.is_set():
                        return removed
                    removed[leftover.name] += self._remove(leftover, job_id, seconds)
            done = True
        except LeaseLost as lost:
            LOG.warning("%s", lost.message)
        finally:
            self._chore.end(done=done)
        for name, count in removed.items():
            if count:
                LOG.info("%d %s of ended jobs were removed", count, name)
        return removed

    def _candidates(self, leftover: Leftover, seconds: float) -> Iterator[str]:
        """Ids of jobs of which something may go, those that kept something before last."""
        again = sorted(self._again[leftover.name])
        for queue in (TRAINING, BATCH):
            while True:
                with self._backend.database.read() as connection:
                    page = self._page(connection, leftover, queue, seconds)
                    found = leftover.left(connection, page) if page else []
                yield from found
                if not page:
                    break
                self._places[leftover.name, queue] = page[-1].finished_at, page[-1].id
        yield from again

    def _page(
        self, connection: Connection, leftover: Leftover, queue: str, seconds: float
    ) -> list[Row[Any]]:
        ended, last = self._places.get((leftover.name, queue), START)
        limit = self._backend.database.now(connection) - seconds
        finished = jobs.c.finished_at
        return list(
            connection.execute(
                select(*COLUMNS)
                .where(
                    jobs.c.queue == queue,
                    finished.is_not(None),
                    finished >= ended,
                    finished < limit,
                    or_(finished > ended, and_(finished == ended, jobs.c.id > last)),
                )
                .order_by(finished, jobs.c.id)
                .limit(PAGE)
            ).all()
        )

    def _remove(self, leftover: Leftover, job_id: str, seconds: float) -> int:
        """All of a job that may go; raises LeaseLost."""
        removed = 0
        again = self._again[leftover.name]
        while True:
            taken = self._take(leftover, job_id, seconds)
            for artifact in taken.artifacts:  # should we die here, the sweep does it
                self._backend.store.delete(artifact)
            removed += taken.removed
            if not taken.more:
                break
        if taken.kept:
            again.add(job_id)
        else:
            again.discard(job_id)
        return removed

    def _take(self, leftover: Leftover, job_id: str, seconds: float) -> Taken:
        with self._backend.database.write() as connection:
            self._chore.hold(connection)
            now = self._backend.database.now(connection)
            job = connection.execute(
                select(*COLUMNS).where(
                    jobs.c.id == job_id,
                    in_state(*sorted(FINAL)),
                    jobs.c.finished_at < now - seconds,
                )
            ).one_or_none()
            if job is None:  # its tenant was deleted meanwhile
                return Taken()
            taken = leftover.take(connection, job)
            if taken.removed and leftover.name != Events.name:
                data = {"resource": leftover.name, "count": taken.removed}
                record(connection, now, OPERATOR, "retention.removed", job.tenant, job.id, data)
        return taken
