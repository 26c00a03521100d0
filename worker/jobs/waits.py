"""Why a queued job waits, how many are before it, and when it may start."""

from __future__ import annotations

from sqlalchemy import and_ as both
from sqlalchemy import func, or_, select
from sqlalchemy.engine import Connection

from worker.jobs import holds
from worker.jobs.moves import JobTable
from worker.jobs.rows import Job, Waiting
from worker.jobs.tables import in_state, jobs
from worker.processes.presence import live_slots

FARTHEST = 1000  # positions beyond are not counted
SAMPLE = 20  # recent jobs whose length is taken for those to come


class JobWaits(JobTable):
    """Reads for clients that wait."""

    def waiting(self, job: Job) -> Waiting | None:
        """What a queued job waits for; None when it is not queued any more."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            row = connection.execute(
                select(jobs.c.priority, jobs.c.share, jobs.c.ordinal, jobs.c.due_at).where(
                    jobs.c.tenant == job.tenant, jobs.c.id == job.id, in_state("queued")
                )
            ).one_or_none()
            if row is None:
                return None
            before = self._before(connection, job, row.priority, row.share, row.ordinal)
            hold = holds.hold_of(connection, job.tenant)
            slots = live_slots(connection, job.queue, now - self._settings.lease_seconds)
            seconds = self._usual_seconds(connection, job.queue)
        if hold is not None:
            return Waiting("quota", before, None, hold)
        if slots == 0:
            return Waiting("no_worker", before, None)
        if seconds is None:
            start = row.due_at if row.due_at > now else None
        else:
            start = max(now + seconds * (before + 1) / slots, row.due_at)
        return Waiting("behind_others", before, start)

    def _before(
        self, connection: Connection, job: Job, priority: int, share: float, ordinal: str
    ) -> int:
        """How many of all tenants that may start jobs are claimed before, up to FARTHEST."""
        # The first rows of the queue are taken before they are compared: so the index is left
        # where the count ends, however long the queue is.
        first = (
            select(jobs.c.priority, jobs.c.share, jobs.c.ordinal)
            .where(
                jobs.c.queue == job.queue,
                in_state("queued"),
                or_(jobs.c.tenant == job.tenant, jobs.c.tenant.not_in(holds.held_back())),
            )
            .order_by(jobs.c.priority.desc(), jobs.c.share, jobs.c.ordinal)
            .limit(FARTHEST)
            .subquery()
        ).c
        earlier = or_(
            first.priority > priority,
            both(first.priority == priority, first.share < share),
            both(first.priority == priority, first.share == share, first.ordinal < ordinal),
        )
        return int(connection.execute(select(func.count()).where(earlier)).scalar_one())

    def _usual_seconds(self, connection: Connection, queue: str) -> float | None:
        """From the first claim to the end, over the last jobs; None without any."""
        recent = (
            select((jobs.c.finished_at - jobs.c.started_at).label("seconds"))
            .where(jobs.c.queue == queue, jobs.c.finished_at.is_not(None))
            .order_by(jobs.c.finished_at.desc())
            .limit(SAMPLE)
            .subquery()
        )
        mean = connection.execute(select(func.avg(recent.c.seconds))).scalar_one()
        return None if mean is None else float(mean)
