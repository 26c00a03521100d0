"""What clients ask of jobs: submit, cancel, pause, resume, retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from sqlalchemy.engine import Connection, Row

from worker.errors import Conflict
from worker.jobs.idempotency import IdempotencyKey
from worker.jobs.moves import Note
from worker.jobs.origin import Origin
from worker.jobs.rows import Job, job_from
from worker.jobs.states import FINAL, PAUSABLE, QUEUED_PHASE
from worker.jobs.submissions import JobSubmissions
from worker.jobs.tables import jobs
from worker.jobs.uses import uses_of


class JobRequests(JobSubmissions):
    """The moves that a tenant asks for. Another tenant's id is NotFound."""

    def request_cancel(self, tenant: str, job_id: str) -> Job:
        """End it: at once where nobody works on it, else as soon as its worker hears.

        A batch with finished shards goes to a worker first, which puts them together. Asking
        again changes nothing. Raises NotFound, or Conflict when it ended otherwise.
        """
        with self._database.write() as connection:
            row = self._owned(connection, tenant, job_id)
            now = self._database.now(connection)
            if row.state == "cancelled":
                return job_from(row)
            if row.state in FINAL:
                _ended(row)
            if row.cancel_requested_at is not None:
                return job_from(row)
            if row.state == "running" or self._has_partial_output(connection, row):
                return self._wish_to_cancel(connection, row, now)
            values = {
                "state": "cancelled",
                "phase": "cancelled",
                "cancel_requested_at": now,
                "finished_at": now,
            }
            return self._set(connection, row, values, Note("cancelled", "Cancelled."), now)

    def request_pause(self, tenant: str, job_id: str) -> Job:
        """Stop a running job at a checkpoint, as soon as its worker hears.

        Asking again changes nothing. Raises NotFound, or Conflict when it does not run or is of
        a kind that cannot be paused.
        """
        with self._database.write() as connection:
            row = self._owned(connection, tenant, job_id)
            now = self._database.now(connection)
            if row.state in FINAL:
                _ended(row)
            if row.kind not in PAUSABLE:
                raise Conflict(
                    f"{job_id} is an {row.kind}, which keeps nothing to go on from and cannot be "
                    "paused. Let it run, or cancel it.",
                    code="job_not_pausable",
                )
            if row.state == "paused" or row.pause_requested_at is not None:
                return job_from(row)
            if row.state == "queued":
                raise Conflict(
                    f"{job_id} does not run yet, so it cannot be paused. Wait until it runs, or "
                    "cancel it.",
                    code="job_not_running",
                )
            note = Note("pause_requested", "Will be paused.")
            return self._set(connection, row, {"pause_requested_at": now}, note, now)

    def resume(self, tenant: str, job_id: str) -> Job:
        """Queue a paused job again, or take back the wish to pause a running one.

        Raises NotFound, or Conflict when it is neither.
        """
        with self._database.write() as connection:
            row = self._owned(connection, tenant, job_id)
            now = self._database.now(connection)
            if row.state == "paused":
                values = {"state": "queued", "phase": QUEUED_PHASE[row.kind], "due_at": 0.0}
                return self._set(connection, row, values, Note("queued", "Resumed."), now)
            if row.state == "running" and row.pause_requested_at is not None:
                note = Note("pause_withdrawn", "Goes on without a pause.")
                return self._set(connection, row, {"pause_requested_at": None}, note, now)
            if row.state in FINAL:
                _ended(row)
            raise Conflict(f"{job_id} is {row.state}, not paused.", code="job_not_paused")

    def retry(
        self,
        tenant: str,
        job_id: str,
        origin: Origin | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Job:
        """A new job like one that failed or was cancelled, admitted as any other.

        Raises NotFound, Conflict, and what `submit` raises.
        """
        with self._database.write() as connection:
            row = self._owned(connection, tenant, job_id)
            if row.state not in ("failed", "cancelled"):
                raise Conflict(
                    f"{job_id} is {row.state}; only a job that failed or was cancelled can be "
                    "tried again.",
                    code="job_not_retryable",
                )
            return self.submit(
                tenant,
                row.kind,
                row.spec,
                metadata=row._mapping["metadata"],
                priority=row.priority,
                retry_of=job_id,
                uses_files=uses_of(connection, tenant, job_id, "file"),
                uses_models=uses_of(connection, tenant, job_id, "model"),
                idempotency=idempotency,
                connection=connection,
                origin=origin,
            )

    def _wish_to_cancel(self, connection: Connection, row: Row[Any], now: float) -> Job:
        """Leave it to a worker: the one that has it, or the next."""
        values: dict[str, Any] = {"cancel_requested_at": now}
        note = Note("cancel_requested", "Will be cancelled.")
        if row.state == "paused":
            values |= {"state": "queued", "phase": QUEUED_PHASE[row.kind]}
            note = Note("queued", "Will be cancelled, with what it has done so far.")
        if row.state != "running":
            values["due_at"] = 0.0
        return self._set(connection, row, values, note, now)

    def _set(
        self,
        connection: Connection,
        row: Row[Any],
        values: Mapping[str, Any],
        note: Note,
        now: float,
    ) -> Job:
        """Change a row that is locked."""
        job = self._move(connection, jobs.c.id == row.id, values, note, now)
        if job is None:
            raise RuntimeError(f"{row.id} vanished while it was locked")
        return job


def _ended(row: Row[Any]) -> NoReturn:
    raise Conflict(f"{row.id} has {_HOW[row.state]} already.", code="job_already_finished")


_HOW = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}
