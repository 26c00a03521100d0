"""Who changed what: rows that are only ever added, without prompts, texts or keys.

Types are OpenAI's where there is one (api_key.created, project.updated, …). A row is written in
the transaction of the change that it tells of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection, Row

from worker.storage.database import Database
from worker.storage.ids import new_id
from worker.storage.pages import Page, cut
from worker.tenants.tables import audit_log


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a key, or the operator at the database."""

    tenant: str | None = None
    key: str | None = None


OPERATOR = Actor()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that was changed."""

    id: str
    tenant: str
    type: str
    actor_tenant: str | None
    actor_key: str | None
    subject: str
    data: dict[str, Any]
    created_at: float


def record(
    connection: Connection,
    now: float,
    actor: Actor,
    type: str,  # noqa: A002  (the word that clients see)
    tenant: str,
    subject: str,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write an entry within the transaction of the change."""
    connection.execute(
        insert(audit_log).values(
            id=new_id("audit_"),
            tenant=tenant,
            type=type,
            actor_tenant=actor.tenant,
            actor_key=actor.key,
            subject=subject,
            data={} if data is None else dict(data),
            created_at=now,
        )
    )


class AuditLog:
    """Reads, and entries of changes that have no transaction of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        actor: Actor,
        type: str,  # noqa: A002
        tenant: str,
        subject: str,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an entry by itself."""
        with self._database.write() as connection:
            record(connection, self._database.now(connection), actor, type, tenant, subject, data)

    def list(
        self,
        tenants: Sequence[str] | None,
        *,
        types: Sequence[str] = (),
        since: float | None = None,
        until: float | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[AuditEntry]:
        """The newest first; ``tenants`` None: of all, else of these alone."""
        query = select(audit_log)
        if tenants is not None:
            query = query.where(audit_log.c.tenant.in_(list(tenants)))
        if types:
            query = query.where(audit_log.c.type.in_(list(types)))
        if since is not None:
            query = query.where(audit_log.c.created_at >= since)
        if until is not None:
            query = query.where(audit_log.c.created_at < until)
        if after is not None:
            query = query.where(audit_log.c.id < after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(audit_log.c.id.desc()).limit(limit + 1)).all()
        return cut([_from(row) for row in rows], limit)


def _from(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**{name: row._mapping[name] for name in AuditEntry.__dataclass_fields__})
