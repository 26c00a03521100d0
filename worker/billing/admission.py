"""Whether a tenant may have one more job, and what is set aside for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from worker.billing.budgets import Budgets
from worker.billing.estimate import estimated
from worker.jobs.origin import Reserved
from worker.jobs.states import Kind
from worker.tenants.monthly_quotas import MonthlyQuotas
from worker.tenants.quotas import Quotas
from worker.tenants.tenants import Tenant


class Admission:
    """The checks that every new job passes, a retry too. Safe to share between threads."""

    def __init__(self, quotas: Quotas, monthly: MonthlyQuotas, budgets: Budgets) -> None:
        self._quotas = quotas
        self._monthly = monthly
        self._budgets = budgets

    def admit(
        self,
        connection: Connection,
        now: float,
        tenant: Tenant,
        kind: Kind,
        spec: Mapping[str, Any],
    ) -> Reserved:
        """Within the transaction that makes the job; raises QueueFull, InsufficientQuota."""
        self._quotas.check_queue(connection, tenant)
        needed = estimated(connection, tenant.id, kind, spec)
        money = self._budgets.admit(connection, now, tenant.id, kind, needed)
        rest = self._monthly.admit(connection, now, tenant, kind, needed)
        return Reserved(
            money,
            characters=int(rest.get("characters", 0)),
            tokens=int(rest.get("tokens", 0)),
            seconds=rest.get("seconds", 0.0),
        )
