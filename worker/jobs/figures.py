"""What operators look at, over all tenants: how many jobs there are, and how those that run do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func, select

from worker.jobs import holds
from worker.jobs.moves import JobTable
from worker.jobs.states import Kind
from worker.jobs.tables import in_state, jobs


class JobFigures(JobTable):
    """Reads that partial indexes answer: what has ended is not looked at."""

    def counts(self) -> Sequence[tuple[str, str, int]]:
        """(queue, state, how many) of the jobs that are not finished."""
        counted: list[tuple[str, str, int]] = []
        with self._database.read() as connection:
            for state in ("queued", "running", "paused"):
                rows = connection.execute(
                    select(jobs.c.queue, func.count()).where(in_state(state)).group_by(jobs.c.queue)
                ).all()
                counted += [(queue, state, number) for queue, number in rows]
        return counted

    def oldest_due_ages(self) -> dict[str, float]:
        """By queue, for how many seconds the oldest job that could be claimed has been queued."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            due = (
                select(jobs.c.queue, func.min(jobs.c.ordinal).label("ordinal"))
                .where(
                    in_state("queued"),
                    jobs.c.due_at <= now,
                    jobs.c.tenant.not_in(holds.held_back()),
                )
                .group_by(jobs.c.queue)
                .subquery()
            )
            is_oldest = and_(jobs.c.queue == due.c.queue, jobs.c.ordinal == due.c.ordinal)
            rows = connection.execute(
                select(jobs.c.queue, jobs.c.created_at)
                .join(due, is_oldest)
                .where(in_state("queued"))
            ).all()
        return {queue: max(0.0, now - created_at) for queue, created_at in rows}

    def running_progress(self, kind: Kind, limit: int) -> list[tuple[str, dict[str, Any]]]:
        """Id and progress of running jobs of one kind, the oldest first."""
        query = (
            select(jobs.c.id, jobs.c.progress)
            .where(in_state("running"), jobs.c.kind == kind)
            .order_by(jobs.c.ordinal)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.id, row.progress) for row in connection.execute(query)]
