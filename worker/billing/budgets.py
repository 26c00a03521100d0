"""Whether a tenant's budget allows new work. What runs goes on: a budget stops nothing midway."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from worker.billing.costs import Costs
from worker.billing.estimate import estimate, file_ids
from worker.billing.prices import Prices
from worker.errors import InsufficientQuota
from worker.jobs.states import Kind
from worker.storage.database import Database
from worker.storage.tables import files
from worker.tenants.options import MICRO
from worker.tenants.tables import tenants
from worker.tenants.tenants import locked
from worker.usage.job_usage import KIND_OF
from worker.usage.quantities import Quantities

LOOK_AGAIN_SECONDS = 5.0  # so long may completions go on after a budget is spent
CACHE_SIZE = 10_000


class Budgets:
    """Reserves estimates and refuses what a budget does not hold. Safe to share by threads."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self.costs = Costs(database, prices)
        self._lock = threading.Lock()
        self._spent: dict[str, tuple[float, str | None]] = {}

    def admit(
        self, connection: Connection, now: float, tenant: str, kind: Kind, spec: Mapping[str, Any]
    ) -> int:
        """Within the transaction that makes a job: the millionths to set aside for it.

        Raises InsufficientQuota when the budget does not hold it beside what is spent this month
        and set aside already. The tenant's row is locked, so that no two jobs get the same money.
        """
        if not self.costs.prices.lists:
            return 0
        row = locked(connection, tenant)
        _, amount = self.estimate(connection, now, tenant, row.currency, kind, spec)
        if row.monthly_budget is not None:
            spent = self.costs.spent(connection, row, now)
            reserved = self.costs.reserved(connection, tenant)
            budget = Decimal(row.monthly_budget) / MICRO
            if spent + reserved + amount > budget:
                raise InsufficientQuota(
                    f"The budget of {budget:.2f} {row.currency} for this month does not hold "
                    f"this: {spent:.2f} are spent, {reserved:.2f} are set aside for jobs that "
                    f"are not finished, and this one is estimated at {amount:.2f}. Wait for "
                    "running jobs, take less, or ask for a larger budget."
                )
        return int((amount * MICRO).to_integral_value(ROUND_UP))

    def estimate(
        self,
        connection: Connection,
        now: float,
        tenant: str,
        currency: str,
        kind: Kind,
        spec: Mapping[str, Any],
    ) -> tuple[Quantities, Decimal]:
        """About what a job will use, and cost."""
        size = connection.execute(
            select(func.coalesce(func.sum(files.c.bytes), 0)).where(
                files.c.tenant == tenant, files.c.id.in_(file_ids(spec))
            )
        ).scalar_one()
        quantities = estimate(kind, spec, int(size))
        return quantities, self.costs.prices.cost(currency, KIND_OF[kind], quantities, now)

    def check(self, tenant: str) -> None:
        """Before a completion: raises InsufficientQuota when the budget is spent.

        Looked up every five seconds. What is set aside for jobs is not counted: it may come back.
        """
        if not self.costs.prices.lists:
            return
        with self._lock:
            entry = self._spent.get(tenant)
        if entry is None or entry[0] < time.monotonic():
            entry = (time.monotonic() + LOOK_AGAIN_SECONDS, self._why_spent(tenant))
            with self._lock:
                if len(self._spent) >= CACHE_SIZE:
                    self._spent.clear()
                self._spent[tenant] = entry
        if entry[1] is not None:
            raise InsufficientQuota(entry[1])

    def _why_spent(self, tenant: str) -> str | None:
        with self._database.read() as connection:
            row = connection.execute(select(tenants).where(tenants.c.id == tenant)).one_or_none()
            if row is None or row.monthly_budget is None:
                return None
            spent = self.costs.spent(connection, row, self._database.now(connection))
        budget = Decimal(row.monthly_budget) / MICRO
        if spent < budget:
            return None
        return (
            f"The budget of {budget:.2f} {row.currency} for this month is spent. Ask for a larger "
            "one, or wait for the next month."
        )
