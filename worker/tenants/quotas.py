"""What a tenant's plan allows beside its rate: waiting jobs, stored bytes, characters a month."""

from __future__ import annotations

import threading
import time

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from worker.billing.months import bounds, month_of
from worker.errors import InsufficientQuota, QueueFull
from worker.jobs.tables import in_state, jobs
from worker.storage.database import Database
from worker.storage.tables import files, models
from worker.tenants.tenants import Tenant
from worker.usage.tables import usage

WEIGHT_BYTES = 4  # of a model's file, nearly all is its weights
LOOK_AGAIN_SECONDS = 5.0
CACHE_SIZE = 10_000


class Quotas:
    """Reads what there is, and refuses more than is allowed. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._characters: dict[str, tuple[float, int]] = {}

    def check_queue(self, connection: Connection, tenant: Tenant) -> None:
        """Within the transaction that makes a job: raises QueueFull at its bound."""
        limit = tenant.limits.queued_jobs
        if limit is None:
            return
        waiting = (
            select(jobs.c.id)
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

    def check_characters(self, tenant: Tenant) -> None:
        """Raises InsufficientQuota when the characters of this month are used up.

        Looked up every five seconds; what runs goes on.
        """
        limit = tenant.limits.characters_per_month
        if limit is None:
            return
        with self._lock:
            entry = self._characters.get(tenant.id)
        if entry is None or entry[0] < time.monotonic():
            entry = (time.monotonic() + LOOK_AGAIN_SECONDS, self._used(tenant))
            with self._lock:
                if len(self._characters) >= CACHE_SIZE:
                    self._characters.clear()
                self._characters[tenant.id] = entry
        if entry[1] >= limit:
            raise InsufficientQuota(
                f"The {limit:,} characters of this month are used up. Ask for a larger plan, or "
                "wait for the next month.",
                code="character_quota_exceeded",
            )

    def _used(self, tenant: Tenant) -> int:
        with self._database.read() as connection:
            now = self._database.now(connection)
            start, _ = bounds(month_of(now, tenant.time_zone), tenant.time_zone)
            both = usage.c.characters_in + usage.c.characters_out
            return int(
                connection.execute(
                    select(func.coalesce(func.sum(both), 0)).where(
                        usage.c.tenant == tenant.id,
                        usage.c.at >= start,
                        usage.c.kind.in_(("completions", "batches")),
                    )
                ).scalar_one()
            )
