"""What the reconciler does with jobs: lost workers, deadlines, and how much is due.

Any number of reconcilers may run at once: rows are locked, and those that another one has locked
are skipped.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.engine import Connection, Row

from worker.jobs import holds
from worker.jobs.moves import JobTable, Note
from worker.jobs.rows import Job, Queue
from worker.jobs.states import LIVE
from worker.jobs.tables import in_state, jobs

AT_ONCE = 100  # rows a transaction, so that SQLite is not held for long
SLACK_SECONDS = 5.0


class JobRecovery(JobTable):
    """Puts right what no worker can."""

    def clock(self) -> float:
        """What the clock says that leases go by."""
        with self._database.read() as connection:
            return self._database.now(connection)

    def recover_expired(self, before: float | None = None) -> list[Job]:
        """Take running jobs from their workers whose lease had run out then (None: by now).

        At most 100 a call.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            limit = now if before is None else before
            expired = and_(in_state("running"), jobs.c.lease_expires_at < limit)
            rows = self._some(connection, expired, jobs.c.lease_expires_at)
            return [
                self._put_back(
                    connection, row, _lost(row, "its worker's lease ran out"), now, losses=1
                )
                for row in rows
            ]

    def free_predecessor(self, worker: str, incarnation: str) -> list[Job]:
        """Take all jobs from former lives of a worker that has come back under its name."""
        freed: list[Job] = []
        mine = and_(
            in_state("running"),
            jobs.c.worker == worker,
            jobs.c.incarnation != incarnation,
        )
        while True:
            with self._database.write() as connection:
                now = self._database.now(connection)
                rows = self._some(connection, mine, jobs.c.ordinal)
                freed += [
                    self._put_back(
                        connection, row, _lost(row, "its worker was restarted"), now, losses=1
                    )
                    for row in rows
                ]
            if len(rows) < AT_ONCE:
                return freed

    def free_all(self, reason: str) -> list[Job]:
        """Take every running job from its worker, which counts as no loss: none can be there."""
        freed: list[Job] = []
        while True:
            with self._database.write() as connection:
                now = self._database.now(connection)
                rows = self._some(connection, in_state("running"), jobs.c.ordinal)
                note = Note("queued", f"Back in the queue: {reason}.", "warn")
                freed += [self._put_back(connection, row, note, now) for row in rows]
            if len(rows) < AT_ONCE:
                return freed

    def free_unheld(
        self, queue: Queue, worker: str, incarnation: str, held: Collection[tuple[str, int]]
    ) -> list[Job]:
        """Put back what a living worker holds by its rows and does not work on; costs no loss.

        ``held``: ids and tokens of what it does work on. Such rows are left by claims that were
        committed and whose answer was lost.
        """
        mine = and_(
            in_state("running"),
            jobs.c.queue == queue,
            jobs.c.worker == worker,
            jobs.c.incarnation == incarnation,
        )
        with self._database.write() as connection:
            now = self._database.now(connection)
            rows = self._some(connection, mine, jobs.c.ordinal)
            return [
                self._put_back(connection, row, _lost(row, "its worker never heard of it"), now)
                for row in rows
                if (row.id, row.token) not in held
            ]

    def fail_overdue(self) -> list[Job]:
        """End queued and running jobs whose deadline has passed; at most 100 a call."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            overdue = and_(
                jobs.c.deadline_at.is_not(None),
                in_state("queued", "running"),
                jobs.c.deadline_at < now,
            )
            rows = self._some(connection, overdue, jobs.c.deadline_at)
            message = "The deadline passed before the job was done."
            error = {"code": "deadline_exceeded", "message": message, "param": None}
            values = {
                "state": "failed",
                "phase": "expired",
                "error": error,
                "finished_at": now,
                "lease_expires_at": None,
            }
            note = Note("failed", message, "error", error)
            moved = [self._move(connection, jobs.c.id == row.id, values, note, now) for row in rows]
            return [job for job in moved if job is not None]

    def shorten_leases(self) -> int:
        """Cut leases that end too far ahead, as after the clock was set back; returns how many."""
        with self._database.write() as connection:
            latest = self._database.now(connection) + self._settings.lease_seconds
            return connection.execute(
                update(jobs)
                .where(
                    in_state("running"),
                    jobs.c.lease_expires_at > latest + SLACK_SECONDS,
                )
                .values(lease_expires_at=latest)
            ).rowcount

    def is_live(self, job_id: str) -> bool:
        """Whether a job of whatever tenant is there and has not ended."""
        with self._database.read() as connection:
            state = connection.execute(
                select(jobs.c.state).where(jobs.c.id == job_id)
            ).scalar_one_or_none()
        return state in LIVE

    def due(self, queue: Queue, limit: int) -> int:
        """How many jobs of the queue could be claimed now, counted up to ``limit``."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            some = (
                select(jobs.c.id)
                .where(
                    jobs.c.queue == queue,
                    in_state("queued"),
                    jobs.c.due_at <= now,
                    jobs.c.tenant.not_in(holds.held_back()),
                )
                .order_by(jobs.c.priority.desc(), jobs.c.share, jobs.c.ordinal)
                .limit(limit)
                .subquery()
            )
            return int(connection.execute(select(func.count()).select_from(some)).scalar_one())

    def needs_recovery(self) -> bool:
        """Whether there is anything to put right: a look that takes no lock."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            latest = now + self._settings.lease_seconds + SLACK_SECONDS
            lease = jobs.c.lease_expires_at
            wrong_lease = and_(in_state("running"), or_(lease < now, lease > latest))
            overdue = and_(
                jobs.c.deadline_at.is_not(None),
                in_state("queued", "running"),
                jobs.c.deadline_at < now,
            )
            return any(
                connection.execute(select(jobs.c.id).where(wrong).limit(1)).first() is not None
                for wrong in (wrong_lease, overdue)
            )

    def _some(
        self, connection: Connection, condition: ColumnElement[bool], order: ColumnElement[Any]
    ) -> list[Row[Any]]:
        """Locked rows, as many as one transaction may change.

        By tenant and kind, as all write in whose transactions more than one job ends: sums of
        usage are locked by these until the end, and nobody waits in a circle.
        """
        rows = connection.execute(
            select(jobs)
            .where(condition)
            .order_by(order)
            .limit(AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        return sorted(rows, key=lambda row: (row.tenant, row.kind))


def _lost(row: Row[Any], how: str) -> Note:
    message = f"Back in the queue: {how} ({row.worker})."
    return Note("queued", message, "warn", {"worker": row.worker, "claim": row.token})
