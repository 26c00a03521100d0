"""Tenants: made, changed, suspended. How one goes for good is in deletion."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from sqlalchemy import select, update
from sqlalchemy.engine import Connection, Row

from worker.billing.currencies import check_change
from worker.errors import Conflict, NotFound
from worker.storage.database import Database, insert_into
from worker.storage.ids import new_id
from worker.storage.pages import Page, cut
from worker.tenants.audit import OPERATOR, Actor, record
from worker.tenants.options import MICRO, Limits, NewTenant, TenantOptions
from worker.tenants.plans import Plans
from worker.tenants.tables import tenants

DEFAULT_TENANT = "default"
CACHE_SECONDS = 5.0  # so long may another process still take requests of a suspended one
CACHE_SIZE = 10_000
DEFAULTS: Mapping[str, Any] = {
    "status": "active",
    "weight": 1.0,
    "currency": "USD",
    "time_zone": "UTC",
    "options": {},
}
_COLUMNS = ("name", "weight", "currency", "time_zone")
_OPTIONS = ("label", "blocked_words")


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant. ``monthly_budget`` is in units of its currency."""

    id: str
    name: str
    status: str  # active or suspended
    weight: float
    plan: str | None
    currency: str
    time_zone: str
    monthly_budget: Decimal | None
    limits: Limits  # its own where it has them, else its plan's
    own_limits: Limits | None
    label: str
    blocked_words: tuple[str, ...]
    created_at: float
    suspended_at: float | None


class Tenants:
    """All tenants. Safe to share between threads."""

    def __init__(self, database: Database, plans: Plans | None = None) -> None:
        self._database = database
        self._plans = Plans() if plans is None else plans
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, Tenant]] = {}

    def create(self, new: NewTenant, actor: Actor = OPERATOR) -> Tenant:
        """Make a tenant; raises Conflict when the id is taken."""
        tenant_id = new_id("proj_") if new.id is None else new.id
        with self._database.write() as connection:
            now = self._database.now(connection)
            values = {**DEFAULTS, **self._values(new, {}), "id": tenant_id, "created_at": now}
            made = connection.execute(
                insert_into(connection, tenants)
                .values(**values)
                .on_conflict_do_nothing()
                .returning(*tenants.c)
            ).one_or_none()
            if made is None:
                raise Conflict(
                    f"There is a project {tenant_id!r} already; choose another id.",
                    code="project_exists",
                    param="id",
                )
            record(connection, now, actor, "project.created", tenant_id, tenant_id, _told(new))
        return self._from(made)

    def get(self, tenant_id: str) -> Tenant:
        """One tenant as it is now; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(select(tenants).where(tenants.c.id == tenant_id)).one_or_none()
        return self._from(row) if row is not None else no_tenant(tenant_id)

    def known(self, tenant_id: str) -> Tenant:
        """One tenant as it was up to 5 s ago; raises NotFound."""
        with self._lock:
            entry = self._cache.get(tenant_id)
        if entry is not None and entry[0] >= time.monotonic():
            return entry[1]
        found = self.get(tenant_id)
        with self._lock:
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[tenant_id] = (time.monotonic() + CACHE_SECONDS, found)
        return found

    def list(
        self, *, after: str | None = None, limit: int = 20, suspended: bool = True
    ) -> Page[Tenant]:
        """By id; without those that are suspended where they are not wanted."""
        query = select(tenants).order_by(tenants.c.id).limit(limit + 1)
        if not suspended:
            query = query.where(tenants.c.status == "active")
        if after is not None:
            query = query.where(tenants.c.id > after)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return cut([self._from(row) for row in rows], limit)

    def update(self, tenant_id: str, change: TenantOptions, actor: Actor = OPERATOR) -> Tenant:
        """Change what is given; raises NotFound, and Conflict for a currency that is in use."""
        with self._database.write() as connection:
            row = locked(connection, tenant_id)
            if change.currency is not None:
                check_change(connection, row, change.currency)
            values = self._values(change, row.options, row)
            now = self._database.now(connection)
            changed = row
            if values:
                changed = connection.execute(
                    update(tenants)
                    .where(tenants.c.id == tenant_id)
                    .values(**values)
                    .returning(*tenants.c)
                ).one()
            record(connection, now, actor, "project.updated", tenant_id, tenant_id, _told(change))
        self.forget(tenant_id)
        return self._from(changed)

    def suspend(self, tenant_id: str, actor: Actor = OPERATOR) -> Tenant:
        """Refuse its requests and start none of its jobs; what runs goes on to its end."""
        return self._set_status(tenant_id, "suspended", actor)

    def resume(self, tenant_id: str, actor: Actor = OPERATOR) -> Tenant:
        """Take a suspension back."""
        return self._set_status(tenant_id, "active", actor)

    def apply_plans(self) -> None:
        """Bring what every claim looks at in line with the plans file, as at a start."""
        with self._database.write() as connection:
            for row in connection.execute(select(tenants)).all():
                wanted = self._from(row).limits.running_jobs
                if wanted != row.max_running_jobs:
                    connection.execute(
                        update(tenants)
                        .where(tenants.c.id == row.id)
                        .values(max_running_jobs=wanted)
                    )

    def forget(self, tenant_id: str) -> None:
        """Look at it anew the next time."""
        with self._lock:
            self._cache.pop(tenant_id, None)

    def _set_status(self, tenant_id: str, status: str, actor: Actor) -> Tenant:
        with self._database.write() as connection:
            row = locked(connection, tenant_id)
            now = self._database.now(connection)
            if row.status != status:
                row = connection.execute(
                    update(tenants)
                    .where(tenants.c.id == tenant_id)
                    .values(status=status, suspended_at=now if status == "suspended" else None)
                    .returning(*tenants.c)
                ).one()
                data = {"status": status}
                record(connection, now, actor, "project.updated", tenant_id, tenant_id, data)
        self.forget(tenant_id)
        return self._from(row)

    def _values(
        self, change: TenantOptions, options: Mapping[str, Any], row: Row[Any] | None = None
    ) -> dict[str, Any]:
        """The columns that a change sets; raises InvalidOption for an unknown plan."""
        given = change.model_fields_set
        values = {name: getattr(change, name) for name in _COLUMNS if name in given}
        values = {name: value for name, value in values.items() if value is not None}
        if "plan" in given:
            values["plan"] = self._plans.checked(change.plan)
        if change.unlimited_budget:
            values["monthly_budget"] = None
        elif change.monthly_budget is not None:
            values["monthly_budget"] = int(change.monthly_budget * MICRO)
        kept = dict(options)
        for name in _OPTIONS:
            value = getattr(change, name)
            if value is not None:
                kept[name] = list(value) if isinstance(value, tuple) else value
        if change.limits is not None:
            own = change.limits.model_dump(exclude_unset=True)
            kept["limits"] = {**kept.get("limits", {}), **own}
        if kept != dict(options):
            values["options"] = kept
        plan = values.get("plan", None if row is None else row.plan)
        limits = self._limits(plan, kept)
        values["max_running_jobs"] = limits.running_jobs
        return values

    def _limits(self, plan: str | None, options: Mapping[str, Any]) -> Limits:
        own = options.get("limits")
        return self._plans.limits(plan).with_own(Limits.parse(own) if own else None)

    def _from(self, row: Row[Any]) -> Tenant:
        own = row.options.get("limits")
        budget = row.monthly_budget
        return Tenant(
            id=row.id,
            name=row.name,
            status=row.status,
            weight=row.weight,
            plan=row.plan,
            currency=row.currency,
            time_zone=row.time_zone,
            monthly_budget=None if budget is None else Decimal(budget) / MICRO,
            limits=self._limits(row.plan, row.options),
            own_limits=Limits.parse(own) if own else None,
            label=row.options.get("label", ""),
            blocked_words=tuple(row.options.get("blocked_words", ())),
            created_at=row.created_at,
            suspended_at=row.suspended_at,
        )


def ensure_tenant(connection: Connection, tenant_id: str, now: float) -> None:
    """Make a tenant of this id with nothing but defaults, unless it is there."""
    connection.execute(
        insert_into(connection, tenants)
        .values(id=tenant_id, name=tenant_id, created_at=now, **DEFAULTS)
        .on_conflict_do_nothing()
    )


def locked(connection: Connection, tenant_id: str) -> Row[Any]:
    """A tenant's row, kept from changing until the transaction ends; raises NotFound."""
    row = connection.execute(
        select(tenants).where(tenants.c.id == tenant_id).with_for_update()
    ).one_or_none()
    return row if row is not None else no_tenant(tenant_id)


def no_tenant(tenant_id: str) -> NoReturn:
    """Raise NotFound."""
    raise NotFound(
        f"There is no project {tenant_id[:100]!r}.", code="project_not_found", param="project_id"
    )


def _told(change: TenantOptions) -> dict[str, Any]:
    """Of a change what the audit log says: the words that are blocked are nobody's business."""
    told = change.model_dump(mode="json", exclude_unset=True)
    if "blocked_words" in told:
        told["blocked_words"] = len(told["blocked_words"] or ())
    return told
