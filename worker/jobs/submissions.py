"""Taking in a job: one transaction that makes its row, or says why it may not be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import insert
from sqlalchemy.engine import Connection

from worker.jobs import fair_share
from worker.jobs.backlog import Backlog
from worker.jobs.idempotency import IdempotencyKey, claim_key, find_or_remember
from worker.jobs.moves import JobTable, Note
from worker.jobs.origin import Admit, Origin, Reserved, Retry
from worker.jobs.rows import Job, Queue, job_from
from worker.jobs.states import ID_PREFIX, QUEUED_PHASE, Kind
from worker.jobs.tables import jobs
from worker.jobs.uses import record_uses
from worker.settings import Settings
from worker.storage.database import Database, after_commit
from worker.storage.ids import new_id, ordinal

QUEUE_OF: Mapping[Kind, Queue] = {
    "training": "training",
    "batch": "batch",
    "scoring": "training",  # work of minutes in a process of its own, as a training is
    "evaluation": "training",
    "examination": "training",
}


class JobSubmissions(JobTable):
    """How jobs come to be. Another tenant's files and models are NotFound."""

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
            "traceparent": None if origin is None else origin.traceparent,
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
            earlier = claim_key(self._database, connection, tenant, key, job_id)
            if earlier is not None:
                return job_from(self._owned(connection, tenant, earlier))
        self._backlog.check(connection, self._settings.max_queued_jobs)
        now = self._database.now(connection)
        reserved = Reserved() if admit is None else admit(connection, now, row["kind"], row["spec"])
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
                reserved=reserved.money,
                reserved_characters=reserved.characters,
                reserved_tokens=reserved.tokens,
                reserved_seconds=reserved.seconds,
            )
            .returning(*jobs.c)
        ).one()
        record_uses(connection, tenant, job_id, "file", uses_files)
        record_uses(connection, tenant, job_id, "model", uses_models)
        self._write_event(connection, made, Note("queued", "Waits for a worker."), now)
        job = job_from(made)
        after_commit(connection, partial(self.metrics.submitted, job))
        return job
