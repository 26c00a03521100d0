"""What clients ask of jobs: submit, cancel, pause, resume, retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sqlalchemy import insert
from sqlalchemy.engine import Connection, Row

from worker.errors import Conflict
from worker.jobs import fair_share
from worker.jobs.backlog import Backlog
from worker.jobs.idempotency import IdempotencyKey, claim_key, find_or_remember
from worker.jobs.moves import JobTable, Note
from worker.jobs.origin import Admit, Origin, Retry
from worker.jobs.rows import Job, Queue, job_from
from worker.jobs.states import FINAL, ID_PREFIX, PAUSABLE, QUEUED_PHASE, Kind
from worker.jobs.tables import jobs
from worker.jobs.uses import record_uses, uses_of
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.ids import new_id, ordinal

QUEUE_OF: Mapping[Kind, Queue] = {
    "training": "training",
    "batch": "batch",
    "scoring": "training",  # work of minutes in a process of its own, as a training is
    "evaluation": "training",
}


class JobRequests(JobTable):
    """The moves that a tenant asks for. Another tenant's id is NotFound."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__(database, settings)
        self._backlog = Backlog()

    def submit(
        self,
        tenant: str,
        kind: Kind,
        spec: Mapping[str, Any],
        *,
        metadata: Mapping[str, str] | None = None,
        priority: int = 0,
        deadline_seconds: float | None = None,
        retry_of: str | None = None,
        id: str | None = None,  # noqa: A002  (the word that clients see)
        uses_files: Sequence[str] = (),
        uses_models: Sequence[str] = (),
        idempotency: IdempotencyKey | None = None,
        connection: Connection | None = None,
        origin: Origin | None = None,
    ) -> Job:
        """Queue a job; once this returns it is never lost.

        With a key that was used before, the job made then. ``uses_…`` are ids that must stay
        while the job lives. With a ``connection`` it is the caller who commits. Raises
        QueueFull, NotFound (a file or model is gone), IdempotencyMismatch.
        """
        job_id = new_id(ID_PREFIX[kind]) if id is None else id
        row: dict[str, Any] = {
            "id": job_id,
            "tenant": tenant,
            "ordinal": ordinal(job_id),
            "kind": kind,
            "queue": QUEUE_OF[kind],
            "phase": QUEUED_PHASE[kind],
            "spec": dict(spec),
            "metadata": {} if metadata is None else dict(metadata),
            "priority": priority,
            "retry_of": retry_of,
            "api_key": None if origin is None else origin.api_key,
            "request_id": None if origin is None else origin.request_id,
        }
        admit = None if origin is None else origin.admit
        retry = None if origin is None or idempotency is not None else origin.retry
        if connection is not None:
            return self._submit(
                connection,
                row,
                deadline_seconds,
                uses_files,
                uses_models,
                idempotency,
                admit,
                retry,
            )
        with self._database.write() as own:
            return self._submit(
                own, row, deadline_seconds, uses_files, uses_models, idempotency, admit, retry
            )

    def _submit(
        self,
        connection: Connection,
        row: dict[str, Any],
        deadline_seconds: float | None,
        uses_files: Sequence[str],
        uses_models: Sequence[str],
        key: IdempotencyKey | None,
        admit: Admit | None,
        retry: Retry | None,
    ) -> Job:
        tenant, job_id = row["tenant"], row["id"]
        if retry is not None:
            repeated = find_or_remember(self._database, connection, tenant, retry, job_id)
            if repeated is not None:
                return job_from(self._owned(connection, tenant, repeated))
        if key is not None:
            earlier = claim_key(self._database, connection, tenant, key, job_id=job_id)
            if earlier is not None:
                if earlier.job_id is None:
                    _in_flight(key)
                return job_from(self._owned(connection, tenant, earlier.job_id))
        self._backlog.check(connection, self._settings.max_queued_jobs)
        now = self._database.now(connection)
        reserved = 0 if admit is None else admit(connection, now, row["kind"], row["spec"])
        share = fair_share.next_share(connection, row["queue"], row["priority"], tenant)
        made = connection.execute(
            insert(jobs)
            .values(
                **row,
                state="queued",
                phase_times={},
                progress={},
                token=0,
                attempts=0,
                losses=0,
                share=share,
                created_at=now,
                due_at=0.0,
                deadline_at=None if deadline_seconds is None else now + deadline_seconds,
                checkpoint_history=[],
                event_count=1,
                reserved=reserved,
            )
            .returning(*jobs.c)
        ).one()
        record_uses(connection, tenant, job_id, "file", uses_files)
        record_uses(connection, tenant, job_id, "model", uses_models)
        self._write_event(connection, made, Note("queued", "Waits for a worker."), now)
        return job_from(made)

    def request_cancel(self, tenant: str, job_id: str) -> Job:
        """End it: at once where nobody works on it, else as soon as its worker hears.

        Asking again changes nothing. Raises NotFound, or Conflict when it ended otherwise.
        """
        with self._database.write() as connection:
            row = self._owned(connection, tenant, job_id)
            now = self._database.now(connection)
            if row.state == "cancelled":
                return job_from(row)
            if row.state in FINAL:
                _ended(row)
            if row.state == "running":
                if row.cancel_requested_at is not None:
                    return job_from(row)
                note = Note("cancel_requested", "Will be cancelled.")
                return self._set(connection, row, {"cancel_requested_at": now}, note, now)
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

    def retry(self, tenant: str, job_id: str, origin: Origin | None = None) -> Job:
        """A new job like one that failed or was cancelled; raises NotFound, Conflict, QueueFull."""
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
                connection=connection,
                origin=origin,
            )

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


def _in_flight(key: IdempotencyKey) -> NoReturn:
    raise Conflict(
        f"The first request with the Idempotency-Key {key.key[:100]!r} is still in flight.",
        code="idempotency_key_in_flight",
        param="Idempotency-Key",
    )
