"""What waits in the queues and why, and what is being worked on: for people who look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, case, func, select
from sqlalchemy.engine import Connection

from worker.jobs.holds import held_back
from worker.jobs.rows import Queue
from worker.jobs.states import Kind, State
from worker.jobs.tables import in_state, jobs
from worker.processes.presence import live_slots
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.ids import made_at

QUEUES: tuple[Queue, ...] = ("training", "batch")
MOST_COUNTED = 10_000  # waiting jobs; how many more there are is not said
MOST_SHOWN = 200  # running jobs


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue. ``held`` and ``delayed`` are among those that wait."""

    queue: Queue
    waiting: int  # up to MOST_COUNTED
    held: int  # of projects that are suspended or run as many jobs as they may
    delayed: int  # until a retry is due
    oldest: float | None  # when the oldest of them was submitted
    running: int
    paused: int
    places: int  # of the workers that are there

    @property
    def counted_all(self) -> bool:
        """Whether no more wait than ``waiting`` says."""
        return self.waiting < MOST_COUNTED


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that a worker holds."""

    id: str
    tenant: str
    kind: Kind
    queue: Queue
    worker: str | None
    started_at: float | None
    lease_expires_at: float | None
    progress: dict[str, Any]
    spec: dict[str, Any]


class QueueStates:
    """Reads over one project's jobs, or over all."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def all(self, tenant: str | None = None) -> list[QueueState]:
        """Every queue, with the jobs of one project, or of all."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            return [self._one(connection, queue, tenant, now) for queue in QUEUES]

    def running(self, tenant: str | None = None) -> Sequence[HeldJob]:
        """What workers hold now, of one project, or of all; the oldest claims first."""
        columns = [jobs.c[field.name] for field in fields(HeldJob)]
        query = select(*columns).where(in_state("running"), *_of(tenant))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(jobs.c.started_at).limit(MOST_SHOWN)).all()
        return [HeldJob(*row) for row in rows]

    def _one(
        self, connection: Connection, queue: Queue, tenant: str | None, now: float
    ) -> QueueState:
        waits = [in_state("queued"), jobs.c.queue == queue, *_of(tenant)]
        first = select(jobs.c.due_at, jobs.c.tenant).where(*waits).limit(MOST_COUNTED).subquery()
        is_held = first.c.tenant.in_(held_back())
        found = connection.execute(
            select(
                func.count().label("waiting"),
                _sum(is_held).label("held"),
                _sum(~is_held & (first.c.due_at > now)).label("delayed"),
                select(func.min(jobs.c.ordinal)).where(*waits).scalar_subquery().label("oldest"),
                _count(queue, "running", tenant).label("running"),
                _count(queue, "paused", tenant).label("paused"),
            ).select_from(first)
        ).one()
        return QueueState(
            queue=queue,
            waiting=found.waiting,
            held=found.held,
            delayed=found.delayed,
            oldest=None if found.oldest is None else made_at(found.oldest),
            running=found.running,
            paused=found.paused,
            places=live_slots(connection, queue, now - self._settings.lease_seconds),
        )


def _count(queue: Queue, state: State, tenant: str | None) -> ScalarSelect[int]:
    wanted = (in_state(state), jobs.c.queue == queue, *_of(tenant))
    return select(func.count()).where(*wanted).scalar_subquery()


def _of(tenant: str | None) -> list[ColumnElement[bool]]:
    return [] if tenant is None else [jobs.c.tenant == tenant]


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
