"""Whether a tenant's budget allows new work. What runs goes on: a budget stops nothing midway."""

from __future__ import annotations

import threading
import time
from decimal import ROUND_UP, Decimal

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.billing.costs import Costs
from worker.billing.prices import Prices
from worker.errors import InsufficientQuota
from worker.jobs.states import Kind
from worker.storage.database import Database
from worker.tenants.options import MICRO
from worker.tenants.tables import tenants
from worker.tenants.tenants import Tenant, locked
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
        self, connection: Connection, now: float, tenant: str, kind: Kind, needed: Quantities
    ) -> int:
        """Within the transaction that makes a job: the millionths to set aside for it.

        Raises InsufficientQuota when the budget does not hold it beside what is spent this month
        and set aside already. The tenant's row is locked, so that no two jobs get the same money.
        """
        if not self.costs.prices.lists:
            return 0
        row = locked(connection, tenant)
        amount = self.costs.prices.cost(row.currency, KIND_OF[kind], needed, now)
        if row.monthly_budget is not None:
            # First, so that a job that ends before the next read counts in both, not in neither.
            reserved = self.costs.reserved(connection, tenant)
            spent = self.costs.spent(connection, row, now)
            budget = Decimal(row.monthly_budget) / MICRO
            if spent + reserved + amount > budget:
                raise InsufficientQuota(
                    f"The budget of {budget:.2f} {row.currency} for this month does not hold "
                    f"this: {spent:.2f} are spent, {reserved:.2f} are set aside for jobs that "
                    f"are not finished, and this one is estimated at {amount:.2f}. Wait for "
                    "running jobs, take less, or ask for a larger budget."
                )
        return int((amount * MICRO).to_integral_value(ROUND_UP))

    def check(self, tenant: str) -> None:
        """Before a completion: raises InsufficientQuota when the budget is spent.

        Looked up every five seconds. What is set aside for jobs is not counted: it may come back.
        """
        if not self.costs.prices.lists:
            return
        with self._lock:
            entry = self._spent.get(tenant)
        if entry is None or entry[0] < time.monotonic():
            entry = (time.monotonic() + LOOK_AGAIN_SECONDS, self.why_spent(tenant))
            with self._lock:
                if len(self._spent) >= CACHE_SIZE:
                    self._spent.clear()
                self._spent[tenant] = entry
        if entry[1] is not None:
            raise InsufficientQuota(entry[1])

    def state(self, tenant: Tenant) -> tuple[Decimal, Decimal, Decimal]:
        """The budget of a tenant that has one, what is spent this month, and what is set aside."""
        with self._database.read() as connection:
            row = connection.execute(select(tenants).where(tenants.c.id == tenant.id)).one()
            reserved = self.costs.reserved(connection, tenant.id)  # first, as in `admit`
            spent = self.costs.spent(connection, row, self._database.now(connection))
        return tenant.monthly_budget or Decimal(0), spent, reserved

    def why_spent(self, tenant: str) -> str | None:
        """What refuses new work now, in a sentence; None while there is money."""
        if not self.costs.prices.lists:
            return None
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
