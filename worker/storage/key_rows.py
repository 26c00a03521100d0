"""API keys as rows: what is kept of one, without its secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection, Row

from worker.errors import Conflict, NotFound
from worker.storage.database import Database
from worker.storage.key_files import digest_of, split_key
from worker.storage.tables import api_keys

SESSION_NAME = "browser session"  # what the keys are called that signing in makes
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret."""

    id: str
    tenant: str
    name: str
    scopes: Sequence[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    owner: str | None = None  # of a browser's session: the key that it stands for


def insert_key(
    connection: Connection,
    plaintext: str,
    *,
    tenant: str,
    name: str,
    scopes: Sequence[str],
    created_at: float,
    expires_at: float | None,
    owner: str | None = None,
) -> Key:
    """Add a key within a transaction."""
    key_id, secret = split_key(plaintext)
    row = connection.execute(
        insert(api_keys)
        .values(
            id=key_id,
            tenant=tenant,
            name=name,
            secret_sha256=digest_of(secret),
            scopes=list(dict.fromkeys(scopes)),
            created_at=created_at,
            expires_at=expires_at,
            owner=owner,
        )
        .returning(*api_keys.c)
    ).one()
    return key_from(row)


def key_from(row: Row[Any]) -> Key:
    """The key in a row of the table."""
    return Key(**{name: row._mapping[name] for name in Key.__dataclass_fields__})


def missing_key(key_id: str) -> NotFound:
    """The error to raise."""
    return NotFound(f"There is no API key {key_id[:100]!r}.", code="key_not_found", param="key_id")


def valid_row(connection: Connection, tenant: str, key_id: str, now: float) -> Row[Any]:
    """A key's row, locked; raises NotFound, Conflict where it is not valid any more."""
    row = connection.execute(
        select(api_keys)
        .where(api_keys.c.tenant == tenant, api_keys.c.id == key_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise missing_key(key_id)
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        raise Conflict(
            f"The API key {key_id!r} is not valid any more; make a new one.",
            code="key_not_valid",
        )
    return row


def forget_sessions(database: Database, kept_seconds: float) -> int:
    """Drop the keys of browsers' sessions that ended longer ago than this; returns how many."""
    key, gone = api_keys.c, 0
    is_session = key.owner.is_not(None)
    while True:
        with database.write() as connection:
            limit = database.now(connection) - kept_seconds
            over = select(key.id).where(is_session, key.expires_at < limit).limit(AT_ONCE)
            some = connection.execute(delete(api_keys).where(key.id.in_(over))).rowcount
        gone += some
        if some < AT_ONCE:
            return gone
