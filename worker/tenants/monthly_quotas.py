"""What a tenant may use in a month of its own calendar: characters, tokens, compute seconds.

A job's estimate is set aside until its end, when its usage counts instead. So many jobs at once
use up a quota no sooner than one after the other. A quota stops new work and never what runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection

from worker.billing.months import bounds, month_of
from worker.errors import InsufficientQuota
from worker.jobs.set_aside import set_aside
from worker.jobs.states import Kind
from worker.storage.database import Database
from worker.tenants.tenants import Tenant, locked
from worker.usage.job_usage import KIND_OF
from worker.usage.quantities import Quantities, UsageKind
from worker.usage.sums import billed

LOOK_AGAIN_SECONDS = 5.0  # so long may completions go on after a quota is used up
CACHE_SIZE = 10_000
WRITING: tuple[UsageKind, ...] = ("completions", "batches")
COMPUTING: tuple[UsageKind, ...] = (
    *WRITING,
    "trainings",
    "scorings",
    "evaluations",
    "examinations",
)


@dataclass(frozen=True, slots=True)
class MonthlyQuota:
    """One of the bounds: its field of `Limits`, what counts, and of which work."""

    limit: str
    noun: str
    reserved: Literal["characters", "tokens", "seconds"]  # of `Reserved`
    counted: Sequence[str]  # of `Quantities`, added up
    kinds: Sequence[UsageKind]

    def of(self, quantities: Quantities) -> float:
        """How much of it this is."""
        return float(sum(getattr(quantities, name) for name in self.counted))

    def used(self, billed: Mapping[UsageKind, Quantities]) -> float:
        """What counts of the usage of a month."""
        return sum(self.of(amounts) for kind, amounts in billed.items() if kind in self.kinds)


QUOTAS = (
    MonthlyQuota(
        "characters_per_month",
        "characters",
        "characters",
        ("characters_in", "characters_out"),
        WRITING,
    ),
    MonthlyQuota("tokens_per_month", "tokens", "tokens", ("tokens_in", "tokens_out"), WRITING),
    MonthlyQuota(
        "compute_seconds_per_month", "compute seconds", "seconds", ("compute_seconds",), COMPUTING
    ),
)


@dataclass(frozen=True, slots=True)
class QuotaState:
    """How a quota of a tenant stands; ``resets_at`` is the first moment of the next month."""

    name: str
    limit: float
    used: float
    reserved: float
    resets_at: float


class MonthlyQuotas:
    """Reads what was used, and refuses more than is allowed. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._checked: dict[str, tuple[float, InsufficientQuota | None]] = {}

    def admit(
        self, connection: Connection, now: float, tenant: Tenant, kind: Kind, needed: Quantities
    ) -> dict[str, float]:
        """Within the transaction that makes a job: what to set aside for it, by name.

        Raises InsufficientQuota when this is more than is left. The tenant's row is locked, so
        that no two jobs get the same.
        """
        counting = [quota for quota in QUOTAS if KIND_OF[kind] in quota.kinds]
        bounded = [quota for quota in counting if _limit(tenant, quota) is not None]
        if bounded:
            locked(connection, tenant.id)
        for quota, state in zip(
            bounded, self._states(connection, now, tenant, bounded), strict=True
        ):
            amount = quota.of(needed)
            left = state.limit - state.used - state.reserved
            if left <= 0 or amount > left:
                raise _exceeded(tenant, quota, state, amount)
        return {quota.reserved: quota.of(needed) for quota in counting}

    def check(self, tenant: Tenant) -> None:
        """Before a completion: raises InsufficientQuota when one that counts it is used up.

        Looked up every five seconds. What is set aside for jobs is not counted: it may come back.
        """
        if not any(_limit(tenant, quota) is not None for quota in QUOTAS):
            return
        with self._lock:
            entry = self._checked.get(tenant.id)
        if entry is None or entry[0] < time.monotonic():
            entry = (time.monotonic() + LOOK_AGAIN_SECONDS, self._used_up(tenant))
            with self._lock:
                if len(self._checked) >= CACHE_SIZE:
                    self._checked.clear()
                self._checked[tenant.id] = entry
        if entry[1] is not None:
            raise InsufficientQuota(entry[1].message, param=entry[1].param)

    def forget(self, tenant: str) -> None:
        """Look at it anew the next time."""
        with self._lock:
            self._checked.pop(tenant, None)

    def states(self, tenant: Tenant) -> list[QuotaState]:
        """The quotas that a tenant has, as they stand now."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            bounded = [quota for quota in QUOTAS if _limit(tenant, quota) is not None]
            return self._states(connection, now, tenant, bounded)

    def _used_up(self, tenant: Tenant) -> InsufficientQuota | None:
        for state in self.states(tenant):
            quota = next(each for each in QUOTAS if each.limit == state.name)
            if "completions" in quota.kinds and state.used >= state.limit:
                return _exceeded(tenant, quota, state, 0.0)
        return None

    def _states(
        self, connection: Connection, now: float, tenant: Tenant, bounded: Sequence[MonthlyQuota]
    ) -> list[QuotaState]:
        if not bounded:
            return []
        start, end = bounds(month_of(now, tenant.time_zone), tenant.time_zone)
        # First, so that a job that ends before the next read counts in both, not in neither.
        aside = set_aside(connection, tenant.id)
        used = billed(connection, tenant.id, start)
        return [
            QuotaState(
                quota.limit,
                _limit(tenant, quota) or 0.0,
                quota.used(used),
                float(getattr(aside, quota.reserved)),
                end,
            )
            for quota in bounded
        ]


def _limit(tenant: Tenant, quota: MonthlyQuota) -> float | None:
    found = getattr(tenant.limits, quota.limit)
    return None if found is None else float(found)


def _exceeded(
    tenant: Tenant, quota: MonthlyQuota, state: QuotaState, needed: float
) -> InsufficientQuota:
    until = datetime.fromtimestamp(state.resets_at, ZoneInfo(tenant.time_zone))
    told = f"{state.used:,.0f} of {state.limit:,.0f} {quota.noun} of this month are used"
    if state.reserved:
        told += f", {state.reserved:,.0f} are set aside for jobs that are not finished"
    if needed:
        told += f", and this is estimated at {needed:,.0f}"
    way_out = " Take less, ask" if needed else " Ask"
    return InsufficientQuota(
        f"{told}.{way_out} for a larger plan, or wait for the next month, which begins on "
        f"{until:%Y-%m-%d %H:%M} ({tenant.time_zone}).",
        param=quota.limit,
    )
