"""What a tenant's plan allows to be there at once: waiting jobs, stored bytes."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from worker.errors import InsufficientQuota, QueueFull
from worker.jobs.tables import in_state, jobs
from worker.storage.database import Database
from worker.storage.tables import files, models
from worker.tenants.tenants import Tenant

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
        stored = self.stored(tenant.id)
        if stored + more > limit:
            raise InsufficientQuota(
                f"This project stores {stored:,} of {limit:,} bytes that its plan allows"
                + (f", and this would be {more:,} more" if more else "")
                + ". Delete files or models.",
                code="storage_quota_exceeded",
            )

    def stored(self, tenant: str) -> int:
        """Bytes of files and models."""
        with self._database.read() as connection:
            size = connection.execute(
                select(func.coalesce(func.sum(files.c.bytes), 0)).where(files.c.tenant == tenant)
            ).scalar_one()
            headers = connection.execute(
                select(models.c.header).where(models.c.tenant == tenant)
            ).scalars()
            weights = sum(int(header.get("parameters", 0)) for header in headers)
        return int(size) + WEIGHT_BYTES * weights
