"""Endpoints of webhooks: made, changed, their secrets replaced; and the log of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection, Row

from textgen.errors import InvalidOption
from worker.errors import Conflict, NotFound
from worker.storage.database import Database
from worker.storage.ids import new_id
from worker.storage.pages import Page, cut
from worker.tenants.audit import OPERATOR, Actor, record
from worker.webhooks.events import EVENT_TYPES
from worker.webhooks.sender import Sender
from worker.webhooks.signing import new_secret
from worker.webhooks.tables import webhook_deliveries, webhook_endpoints

MOST_ENDPOINTS = 20
OLD_SECRET_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tenant wants to hear of what."""

    id: str
    tenant: str
    name: str
    url: str
    event_types: Sequence[str]
    secret: str
    old_secret: str | None
    old_secret_until: float | None
    created_at: float
    updated_at: float

    def secrets(self, now: float) -> list[str]:
        """The secrets to sign with now."""
        old = self.old_secret
        valid = old is not None and self.old_secret_until is not None
        if old is not None and valid and (self.old_secret_until or 0.0) > now:
            return [self.secret, old]
        return [self.secret]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to an endpoint, or there."""

    id: str
    tenant: str
    endpoint_id: str
    event_id: str
    event_type: str
    body: str
    state: str
    attempts: int
    due_at: float
    last_status: int | None
    last_error: str | None
    created_at: float
    ended_at: float | None


class Endpoints:
    """The endpoints of every tenant. Safe to share between threads."""

    def __init__(self, database: Database, sender: Sender) -> None:
        self._database = database
        self._sender = sender

    def create(
        self,
        tenant: str,
        name: str,
        url: str,
        event_types: Sequence[str],
        actor: Actor = OPERATOR,
    ) -> Endpoint:
        """A new endpoint with a secret of its own; raises ForbiddenDestination, InvalidOption."""
        self._sender.check(url)
        wanted = _known(event_types)
        with self._database.write() as connection:
            now = self._database.now(connection)
            there = connection.execute(
                select(webhook_endpoints.c.id).where(webhook_endpoints.c.tenant == tenant)
            ).all()
            if len(there) >= MOST_ENDPOINTS:
                raise Conflict(
                    f"There are {MOST_ENDPOINTS} endpoints already, which is the most. Delete one.",
                    code="too_many_endpoints",
                )
            row = connection.execute(
                insert(webhook_endpoints)
                .values(
                    id=new_id("we_"),
                    tenant=tenant,
                    name=name,
                    url=url,
                    event_types=wanted,
                    secret=new_secret(),
                    created_at=now,
                    updated_at=now,
                )
                .returning(*webhook_endpoints.c)
            ).one()
            data = {"url": url, "event_types": wanted}
            record(connection, now, actor, "webhook_endpoint.created", tenant, row.id, data)
        return endpoint_from(row)

    def get(self, tenant: str, endpoint_id: str) -> Endpoint:
        """One; raises NotFound."""
        with self._database.read() as connection:
            return endpoint_from(_locked(connection, tenant, endpoint_id, lock=False))

    def list(self, tenant: str, *, after: str | None = None, limit: int = 20) -> Page[Endpoint]:
        """The oldest first."""
        query = select(webhook_endpoints).where(webhook_endpoints.c.tenant == tenant)
        if after is not None:
            query = query.where(webhook_endpoints.c.id > after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(webhook_endpoints.c.id).limit(limit + 1)).all()
        return cut([endpoint_from(row) for row in rows], limit)

    def change(
        self,
        tenant: str,
        endpoint_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        event_types: Sequence[str] | None = None,
        actor: Actor = OPERATOR,
    ) -> Endpoint:
        """Change what is given; raises NotFound, ForbiddenDestination, InvalidOption."""
        values: dict[str, Any] = {}
        if name is not None:
            values["name"] = name
        if event_types is not None:
            values["event_types"] = _known(event_types)
        if url is not None:
            self._sender.check(url)
            values["url"] = url
        return self._update(tenant, endpoint_id, values, dict(values), actor)

    def rotate_secret(
        self, tenant: str, endpoint_id: str, *, keep_old: bool = False, actor: Actor = OPERATOR
    ) -> Endpoint:
        """A new secret; with ``keep_old`` deliveries carry both signatures for a day."""
        with self._database.write() as connection:
            row = _locked(connection, tenant, endpoint_id)
            now = self._database.now(connection)
            values = {
                "secret": new_secret(),
                "old_secret": row.secret if keep_old else None,
                "old_secret_until": now + OLD_SECRET_SECONDS if keep_old else None,
            }
            data = {"secret": "rotated", "keep_old": keep_old}
            return self._write(connection, row, values, data, now, actor)

    def delete(self, tenant: str, endpoint_id: str, actor: Actor = OPERATOR) -> None:
        """Forget an endpoint, what was to be sent there, and its log; raises NotFound."""
        with self._database.write() as connection:
            _locked(connection, tenant, endpoint_id)
            now = self._database.now(connection)
            deliveries = webhook_deliveries.c
            connection.execute(
                delete(webhook_deliveries).where(
                    deliveries.tenant == tenant, deliveries.endpoint_id == endpoint_id
                )
            )
            connection.execute(
                delete(webhook_endpoints).where(
                    webhook_endpoints.c.tenant == tenant, webhook_endpoints.c.id == endpoint_id
                )
            )
            record(connection, now, actor, "webhook_endpoint.deleted", tenant, endpoint_id)

    def deliveries(
        self, tenant: str, endpoint_id: str, *, after: str | None = None, limit: int = 20
    ) -> Page[Delivery]:
        """The newest first; raises NotFound."""
        self.get(tenant, endpoint_id)
        found = webhook_deliveries.c
        query = select(webhook_deliveries).where(
            found.tenant == tenant, found.endpoint_id == endpoint_id
        )
        if after is not None:
            query = query.where(found.id < after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(found.id.desc()).limit(limit + 1)).all()
        return cut([delivery_from(row) for row in rows], limit)

    def send_again(self, tenant: str, endpoint_id: str, delivery_id: str) -> Delivery:
        """Try a delivery once more, at once; raises NotFound."""
        found = webhook_deliveries.c
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = connection.execute(
                update(webhook_deliveries)
                .where(
                    found.tenant == tenant,
                    found.endpoint_id == endpoint_id,
                    found.id == delivery_id,
                )
                .values(state="pending", due_at=now, created_at=now, ended_at=None, attempts=0)
                .returning(*found)
            ).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no delivery {delivery_id[:100]!r}.",
                code="delivery_not_found",
                param="delivery_id",
            )
        return delivery_from(row)

    def _update(
        self,
        tenant: str,
        endpoint_id: str,
        values: dict[str, Any],
        data: dict[str, Any],
        actor: Actor,
    ) -> Endpoint:
        with self._database.write() as connection:
            row = _locked(connection, tenant, endpoint_id)
            if not values:
                return endpoint_from(row)
            now = self._database.now(connection)
            return self._write(connection, row, values, data, now, actor)

    def _write(
        self,
        connection: Connection,
        row: Row[Any],
        values: dict[str, Any],
        data: dict[str, Any],
        now: float,
        actor: Actor,
    ) -> Endpoint:
        changed = connection.execute(
            update(webhook_endpoints)
            .where(webhook_endpoints.c.id == row.id)
            .values(**values, updated_at=now)
            .returning(*webhook_endpoints.c)
        ).one()
        record(connection, now, actor, "webhook_endpoint.updated", row.tenant, row.id, data)
        return endpoint_from(changed)


def endpoint_from(row: Row[Any]) -> Endpoint:
    """The endpoint in a row."""
    return Endpoint(**{name: row._mapping[name] for name in Endpoint.__dataclass_fields__})


def delivery_from(row: Row[Any]) -> Delivery:
    """The delivery in a row."""
    return Delivery(**{name: row._mapping[name] for name in Delivery.__dataclass_fields__})


def _known(event_types: Sequence[str]) -> list[str]:
    unknown = [name for name in event_types if name not in EVENT_TYPES]
    if unknown or not event_types:
        what = f"has {unknown[0]!r}" if unknown else "is empty"
        raise InvalidOption(
            f"'event_types' {what}: give some of {', '.join(EVENT_TYPES)}.", param="event_types"
        )
    return list(dict.fromkeys(event_types))


def _locked(
    connection: Connection, tenant: str, endpoint_id: str, *, lock: bool = True
) -> Row[Any]:
    query = select(webhook_endpoints).where(
        webhook_endpoints.c.tenant == tenant, webhook_endpoints.c.id == endpoint_id
    )
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return row if row is not None else _missing(endpoint_id)


def _missing(endpoint_id: str) -> NoReturn:
    raise NotFound(
        f"There is no webhook endpoint {endpoint_id[:100]!r}.",
        code="webhook_endpoint_not_found",
        param="webhook_endpoint_id",
    )
