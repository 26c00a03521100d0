"""What a worker does with jobs, first half: claim, hold, and say how it goes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import and_, case, func, select, update

from worker.jobs import fair_share, holds
from worker.jobs.moves import JobTable, Note, held, lease_lost
from worker.jobs.rows import Job, Level, Queue, Signals, job_from
from worker.jobs.states import RUNNING_PHASE
from worker.jobs.tables import in_state, jobs
from worker.storage.database import after_commit


class JobLeases(JobTable):
    """Claims, leases, progress and events. Every write is fenced by the claim's token."""

    def claim(self, queue: Queue, worker: str, incarnation: str = "") -> Job | None:
        """Take the job whose turn it is, or None when none is due.

        One conditional UPDATE: no two claimers ever get the same row. Tenants that are suspended,
        or have as many jobs running as they may, are passed over.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            best = holds.next_job(connection, queue, now)
            if best is None:
                return None
            row = connection.execute(
                update(jobs)
                .where(and_(jobs.c.id == best, in_state("queued")))
                .values(
                    state="running",
                    phase=case(dict(RUNNING_PHASE), value=jobs.c.kind),
                    token=jobs.c.token + 1,
                    worker=worker,
                    incarnation=incarnation,
                    started_at=func.coalesce(jobs.c.started_at, now),
                    lease_expires_at=now + self._settings.lease_seconds,
                    event_count=jobs.c.event_count + 1,
                )
                .returning(*jobs.c)
            ).one_or_none()
            if row is None:
                return None
            fair_share.advance(connection, queue, row.priority, row.share)
            data = {"worker": worker, "claim": row.token}
            self._write_event(connection, row, Note("running", "Started.", data=data), now)
            job = job_from(row)
            after_commit(connection, partial(self.metrics.claimed, job))
            return job

    def heartbeat(self, job: Job) -> Signals:
        """Renew the lease; raises LeaseLost."""
        with self._database.write() as connection:
            expires = self._database.now(connection) + self._settings.lease_seconds
            row = connection.execute(
                update(jobs)
                .where(held(job))
                .values(lease_expires_at=expires)
                .returning(jobs.c.cancel_requested_at, jobs.c.pause_requested_at)
            ).one_or_none()
        if row is None:
            lease_lost(job)
        return Signals(cancel=row[0] is not None, pause=row[1] is not None)

    def signals(self, job: Job) -> Signals:
        """What the owner wants, without renewing; raises LeaseLost."""
        with self._database.read() as connection:
            row = connection.execute(
                select(jobs.c.cancel_requested_at, jobs.c.pause_requested_at).where(held(job))
            ).one_or_none()
        if row is None:
            lease_lost(job)
        return Signals(cancel=row[0] is not None, pause=row[1] is not None)

    def set_progress(self, job: Job, progress: Mapping[str, Any]) -> None:
        """Replace the progress; raises LeaseLost."""
        with self._database.write() as connection:
            self._change(connection, job, progress=dict(progress))

    def save_plan(self, job: Job, plan: Mapping[str, Any]) -> None:
        """Keep how the work will be done, before its first step; raises LeaseLost."""
        with self._database.write() as connection:
            self._change(connection, job, plan=dict(plan))

    def set_phase(self, job: Job, phase: str) -> None:
        """Say what the worker is doing now, such as ``finalizing``; raises LeaseLost."""
        with self._database.write() as connection:
            row = self._held(connection, job)
            times = {phase: self._database.now(connection), **row.phase_times}
            self._change(connection, job, phase=phase, phase_times=times)

    def add_event(
        self,
        job: Job,
        *,
        type: str,  # noqa: A002  (the word that clients see)
        message: str,
        level: Level = "info",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an event under the next number; raises LeaseLost."""
        note = Note(type, message, level, {} if data is None else data)
        with self._database.write() as connection:
            if self._move(connection, held(job), {}, note, self._database.now(connection)) is None:
                lease_lost(job)
