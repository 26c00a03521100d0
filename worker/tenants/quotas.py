"""What a tenant's plan allows to be there at once: waiting jobs, stored bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from sqlalchemy import func, literal_column, select
from sqlalchemy.engine import Connection

from worker.errors import InsufficientQuota, QueueFull
from worker.jobs.tables import in_state, jobs
from worker.storage.database import Database
from worker.storage.tables import files, models, upload_parts, uploads
from worker.tenants.tenants import Tenant, locked

WEIGHT_BYTES = 4  # of a model's file, nearly all is its weights


class Quotas:
    """Reads what there is, and refuses more than is allowed. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check_queue(self, connection: Connection, tenant: Tenant) -> None:
        """Within the transaction that makes a job: raises QueueFull at its bound."""
        limit = tenant.limits.queued_jobs
        if limit is None:
            return
        waiting = (
            select(jobs.c.ordinal)  # an index has it
            .where(jobs.c.tenant == tenant.id, in_state("queued"))
            .limit(limit)
            .subquery()
        )
        count = connection.execute(select(func.count()).select_from(waiting)).scalar_one()
        if count >= limit:
            raise QueueFull(
                f"{limit} jobs of this project wait already, which is all that its plan allows. "
                "Wait until some have started.",
                code="project_queue_full",
            )

    def check_storage(self, tenant: Tenant, more: int = 0) -> None:
        """Raises InsufficientQuota when ``more`` bytes beside those stored are too many."""
        limit = tenant.limits.storage_bytes
        if limit is None:
            return
        with self._database.read() as connection:
            held = stored(connection, tenant.id)
        if held + more > limit:
            _refuse(held, limit, more)

    @contextmanager
    def storage(self, connection: Connection, tenant: Tenant) -> Iterator[None]:
        """Within a transaction: what the block adds must fit, else it raises InsufficientQuota.

        The tenant's row is locked before, so that no two get the same room.
        """
        limit = tenant.limits.storage_bytes
        if limit is None:
            yield
            return
        locked(connection, tenant.id)
        before = stored(connection, tenant.id)
        yield
        after = stored(connection, tenant.id)
        if after > limit:
            _refuse(before, limit, after - before)


def stored(connection: Connection, tenant: str) -> int:
    """Bytes of files and models, and what is announced for uploads that are not completed.

    Of the parts of such an upload there may be more than announced, when some came twice.
    """
    size = connection.execute(
        select(func.coalesce(func.sum(files.c.bytes), 0)).where(files.c.tenant == tenant)
    ).scalar_one()
    there = (
        select(func.coalesce(func.sum(upload_parts.c.bytes), 0))
        .where(upload_parts.c.upload_id == uploads.c.id)
        .scalar_subquery()
    )
    coming = connection.execute(
        select(uploads.c.bytes, there).where(
            uploads.c.tenant == tenant, uploads.c.status == literal_column("'pending'")
        )
    ).all()
    headers = connection.execute(select(models.c.header).where(models.c.tenant == tenant)).scalars()
    weights = sum(int(header.get("parameters", 0)) for header in headers)
    return int(size) + sum(max(map(int, each)) for each in coming) + WEIGHT_BYTES * weights


def _refuse(held: int, limit: int, more: int) -> NoReturn:
    raise InsufficientQuota(
        f"This project stores {held:,} of {limit:,} bytes that its plan allows"
        + (f", and this would be {more:,} more" if more > 0 else "")
        + ". Delete files or models, or cancel uploads that are not completed.",
        code="storage_quota_exceeded",
    )
