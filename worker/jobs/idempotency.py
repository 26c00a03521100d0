"""Requests that carry an Idempotency-Key are carried out once.

The key is stored in the same transaction as the job that the request makes. The same key with the
same body gives that job again; with another body it is an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Connection

from worker.errors import IdempotencyMismatch
from worker.jobs.origin import RETRY_SECONDS, Retry
from worker.jobs.tables import idempotency
from worker.storage.database import Database, insert_into


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key and the SHA-256 of the body that it came with, in hex."""

    key: str
    body_sha256: str


def claim_key(
    database: Database,
    connection: Connection,
    tenant: str,
    key: IdempotencyKey,
    job_id: str,
) -> str | None:
    """Take the key for a job, or name the job that has it; raises IdempotencyMismatch.

    While another transaction is taking the same key, this waits for its end.
    """
    statement = (
        insert_into(connection, idempotency)
        .values(
            tenant=tenant,
            key=key.key,
            body_sha256=key.body_sha256,
            job_id=job_id,
            created_at=database.now(connection),
        )
        .on_conflict_do_nothing()
        .returning(idempotency.c.key)
    )
    if connection.execute(statement).first() is not None:
        return None
    row = connection.execute(
        select(idempotency).where(idempotency.c.tenant == tenant, idempotency.c.key == key.key)
    ).one()
    if row.body_sha256 != key.body_sha256:
        raise IdempotencyMismatch(
            f"The Idempotency-Key {key.key[:100]!r} was used with another body. Take a new key "
            "for a new request.",
            param="Idempotency-Key",
        )
    return str(row.job_id)


def find_or_remember(
    database: Database, connection: Connection, tenant: str, retry: Retry, job_id: str
) -> str | None:
    """The job that a retry asks for again, or None: then this job is remembered for retries.

    While the transaction of the first request is open, this waits for its end.
    """
    now = database.now(connection)
    mine = idempotency.c.tenant == tenant, idempotency.c.key == retry.key
    fresh = {"job_id": job_id, "created_at": now}
    remembered = (
        insert_into(connection, idempotency)
        .values(tenant=tenant, key=retry.key, body_sha256="", **fresh)
        .on_conflict_do_nothing()
        .returning(idempotency.c.key)
    )
    while connection.execute(remembered).first() is None:
        # Read without a lock: who gets the earlier job locks that, and jobs are locked first.
        row = connection.execute(
            select(idempotency.c.job_id, idempotency.c.created_at).where(*mine)
        ).one_or_none()
        if row is None:  # forgotten just now
            continue
        recent = row.created_at >= now - RETRY_SECONDS
        if retry.repeats and recent and row.job_id and not retry.answered(row.job_id):
            return str(row.job_id)
        unchanged = idempotency.c.job_id.is_not_distinct_from(row.job_id)
        if connection.execute(update(idempotency).where(*mine, unchanged).values(**fresh)).rowcount:
            break
    return None


def forget_keys(database: Database, seconds: float) -> int:
    """Drop keys that are older; returns how many."""
    with database.write() as connection:
        limit = database.now(connection) - seconds
        return connection.execute(
            delete(idempotency).where(idempotency.c.created_at < limit)
        ).rowcount
