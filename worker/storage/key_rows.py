"""API keys as rows: what is kept of one, without its secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert
from sqlalchemy.engine import Connection, Row

from worker.errors import NotFound
from worker.storage.key_files import digest_of, split_key
from worker.storage.tables import api_keys


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


def insert_key(
    connection: Connection,
    plaintext: str,
    *,
    tenant: str,
    name: str,
    scopes: Sequence[str],
    created_at: float,
    expires_at: float | None,
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
