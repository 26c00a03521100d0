"""Finding keys among many, page by page, at a cost that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.engine import Connection

from worker.storage.database import Database
from worker.storage.key_rows import Key, key_from
from worker.storage.tables import api_keys
from worker.storage.windows import Found, look_through

KeyState = Literal["valid", "ended", "sessions"]


class KeySearch:
    """Reads for clients; every query names the tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(
        self,
        tenant: str,
        text: str = "",
        *,
        state: KeyState | None = None,
        after: str | None = None,
        limit: int = 25,
    ) -> Found[Key, str]:
        """Keys whose name or id has ``text`` in it, whatever its case.

        ``valid`` and ``ended`` leave out the sessions of browsers, ``sessions`` are those that are
        valid. Looks at a window of them behind ``after``.
        """
        key = api_keys.c
        with self._database.read() as connection:
            return look_through(
                connection,
                select(api_keys).where(key.tenant == tenant),
                (key.created_at, key.id),
                _wanted(text, state, self._database.now(connection)),
                after=None if after is None else _place(connection, tenant, after),
                limit=limit,
                item=key_from,
                mark=lambda row: str(row.id),
            )

    def names(self, tenant: str, ids: Iterable[str]) -> dict[str, str]:
        """The names of a tenant's keys by their ids; of those that it has."""
        key = api_keys.c
        with self._database.read() as connection:
            rows = connection.execute(
                select(key.id, key.name).where(key.tenant == tenant, key.id.in_(set(ids)))
            ).all()
        return {row.id: row.name for row in rows}


def _place(connection: Connection, tenant: str, key_id: str) -> tuple[float, str]:
    """Where a key stands in the list; one that is not there stands behind all."""
    key = api_keys.c
    made = connection.execute(
        select(key.created_at).where(key.tenant == tenant, key.id == key_id)
    ).scalar_one_or_none()
    return (-1.0 if made is None else made, key_id)


def _wanted(text: str, state: KeyState | None, now: float) -> list[ColumnElement[bool]]:
    key = api_keys.c
    filters: list[ColumnElement[bool]] = []
    lasts = and_(key.revoked_at.is_(None), or_(key.expires_at.is_(None), key.expires_at > now))
    if state is not None:
        session = key.owner.is_not(None)
        filters += [
            session if state == "sessions" else ~session,
            ~lasts if state == "ended" else lasts,
        ]
    if text:
        filters.append(or_(*(each.icontains(text, autoescape=True) for each in (key.id, key.name))))
    return filters
