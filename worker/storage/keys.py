"""API keys: ``tg_<id>_<secret>``, of which only the SHA-256 of the secret is stored."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.engine import Connection, Row

from textgen.errors import InvalidOption
from worker.errors import Conflict, NotFound, Unauthenticated
from worker.settings import Settings
from worker.storage.database import Database, insert_into
from worker.storage.key_files import admin_key, digest_of, make_key, split_key
from worker.storage.key_rows import (
    SESSION_NAME,
    Key,
    insert_key,
    key_from,
    missing_key,
    valid_row,
)
from worker.storage.key_search import KeySearch
from worker.storage.signin_links import SigninLinks
from worker.storage.tables import api_keys
from worker.tenants.audit import OPERATOR, Actor, record
from worker.tenants.tenants import DEFAULT_TENANT, ensure_tenant

__all__ = ["DEFAULT_TENANT", "SCOPES", "Key", "Keys"]

SCOPES = ("read", "generate", "train", "admin")
CACHE_SECONDS = 5.0  # so long may another process still take a key that was revoked
CACHE_SIZE = 10_000
KEYS_AT_ONCE = 1000  # that one query asks for
GRACE_SECONDS = 86_400.0  # so long is a key valid after it was rotated


class Keys(KeySearch):
    """The keys of every tenant. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, Key, bytes]] = {}

    def create(
        self,
        tenant: str,
        name: str,
        scopes: Sequence[str],
        *,
        expires_in: float | None = None,
        actor: Actor = OPERATOR,
    ) -> tuple[Key, str]:
        """A new key, and its plaintext, which is shown this once; its tenant is made if need be."""
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InvalidOption(
                f"'scopes' is {list(scopes)}: give some of {', '.join(SCOPES)}.", param="scopes"
            )
        plaintext = make_key()
        with self._database.write() as connection:
            now = self._database.now(connection)
            ensure_tenant(connection, tenant, now)
            expires_at = None if expires_in is None else now + expires_in
            key = insert_key(
                connection,
                plaintext,
                tenant=tenant,
                name=name,
                scopes=scopes,
                created_at=now,
                expires_at=expires_at,
            )
            data = {"name": name, "scopes": list(key.scopes), "expires_at": key.expires_at}
            record(connection, now, actor, "api_key.created", tenant, key.id, data)
        return key, plaintext

    def sign_in(self, owner: Key, seconds: float) -> tuple[Key, str]:
        """A browser's session: a key that may do what ``owner`` may and ends with it, and its text.

        What is done to the owner reaches it. Raises Unauthenticated where the owner is no longer
        valid, or is a session itself.
        """
        plaintext = make_key()
        with self._database.write() as connection:
            now = self._database.now(connection)
            try:
                row = valid_row(connection, owner.tenant, owner.id, now)
            except (NotFound, Conflict):
                raise Unauthenticated("This key is not known, or no longer valid.") from None
            if row.owner is not None:
                raise Unauthenticated("This is a browser's session. Sign in with a key.")
            expires_at = now + seconds
            if row.expires_at is not None:
                expires_at = min(expires_at, row.expires_at)
            session = insert_key(
                connection,
                plaintext,
                tenant=owner.tenant,
                name=SESSION_NAME,
                scopes=row.scopes,
                created_at=now,
                expires_at=expires_at,
                owner=owner.id,
            )
            data = {"name": session.name, "scopes": list(session.scopes), "expires_at": expires_at}
            actor = Actor(owner.tenant, owner.id)
            record(connection, now, actor, "api_key.created", owner.tenant, session.id, data)
        return session, plaintext

    def rotate(
        self,
        tenant: str,
        key_id: str,
        *,
        grace_seconds: float = GRACE_SECONDS,
        expires_in: float | None = None,
        actor: Actor = OPERATOR,
    ) -> tuple[Key, str]:
        """A new key like this one, which stays valid for a while, so that callers can change over.

        The new one lives as long as the old one was made for, or ``expires_in`` seconds. Raises
        NotFound, or Conflict when the key is not valid any more.
        """
        plaintext = make_key()
        with self._database.write() as connection:
            now = self._database.now(connection)
            old = _no_session(valid_row(connection, tenant, key_id, now))
            if expires_in is None and old.expires_at is not None:
                expires_in = old.expires_at - old.created_at
            expires_at = None if expires_in is None else now + expires_in
            key = insert_key(
                connection,
                plaintext,
                tenant=tenant,
                name=old.name,
                scopes=old.scopes,
                created_at=now,
                expires_at=expires_at,
            )
            until = now + grace_seconds
            if old.expires_at is not None:
                until = min(until, old.expires_at)
            connection.execute(
                update(api_keys).where(api_keys.c.id == key_id).values(expires_at=until)
            )
            reached = _reach_sessions(connection, key_id, expires_at=until)
            data = {"replaced_by": key.id, "valid_until": until}
            record(connection, now, actor, "api_key.updated", tenant, key_id, data)
        self._forget(key_id, *reached)
        return key, plaintext

    def change(
        self,
        tenant: str,
        key_id: str,
        *,
        name: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_in: float | None = None,
        actor: Actor = OPERATOR,
    ) -> Key:
        """Change what is given; raises NotFound, Conflict where the key is not valid any more."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = _no_session(valid_row(connection, tenant, key_id, now))
            given = {
                "name": name,
                "scopes": None if scopes is None else list(scopes),
                "expires_at": None if expires_in is None else now + expires_in,
            }
            values = {name: value for name, value in given.items() if value is not None}
            reached = _reach_sessions(
                connection,
                key_id,
                **{name: value for name, value in values.items() if name != "name"},
            )
            if values:
                row = connection.execute(
                    update(api_keys)
                    .where(api_keys.c.id == key_id)
                    .values(**values)
                    .returning(*api_keys.c)
                ).one()
            record(connection, now, actor, "api_key.updated", tenant, key_id, values)
        self._forget(key_id, *reached)
        return key_from(row)

    def authenticate(self, plaintext: str) -> Key:
        """The key that this is; raises Unauthenticated. Known keys are looked up every 5 s."""
        try:
            key_id, secret = split_key(plaintext)
        except ValueError:
            raise Unauthenticated("This is no API key; one looks like tg_<id>_<secret>.") from None
        digest = digest_of(secret)
        found = self._look_up([key_id]).get(key_id)
        if found is None or not hmac.compare_digest(digest, found[1]):
            raise Unauthenticated("Wrong API key.")
        return self.usable(found[0])

    def known(self, key_ids: Iterable[str]) -> dict[str, Key]:
        """Keys as they were up to 5 s ago, whosever they are; without those that are gone."""
        return {key_id: key for key_id, (key, _) in self._look_up(key_ids).items()}

    @staticmethod
    def usable(key: Key | None) -> Key:
        """The key itself, unless it is gone or its time is over; raises Unauthenticated."""
        if key is None:
            raise Unauthenticated("This key is not known, or no longer valid.")
        if key.revoked_at is not None:
            raise Unauthenticated("This API key was revoked.", code="key_revoked")
        if key.expires_at is not None and key.expires_at <= time.time():
            raise Unauthenticated("This API key has expired.", code="key_expired")
        return key

    def get(self, tenant: str, key_id: str) -> Key:
        """One key; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(
                select(api_keys).where(api_keys.c.tenant == tenant, api_keys.c.id == key_id)
            ).one_or_none()
        if row is None:
            raise missing_key(key_id)
        return key_from(row)

    def list(self, tenant: str) -> list[Key]:
        """All keys, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(api_keys)
                .where(api_keys.c.tenant == tenant)
                .order_by(api_keys.c.created_at, api_keys.c.id)
            ).all()
        return [key_from(row) for row in rows]

    def revoke(self, tenant: str, key_id: str, actor: Actor = OPERATOR) -> Key:
        """Make a key useless, and the browsers' sessions that stand for it; raises NotFound.

        Here that is at once, in other processes within 5 s.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = connection.execute(
                update(api_keys)
                .where(api_keys.c.tenant == tenant, api_keys.c.id == key_id)
                .values(revoked_at=func.coalesce(api_keys.c.revoked_at, now))
                .returning(*api_keys.c)
            ).one_or_none()
            if row is None:
                raise missing_key(key_id)
            reached = _reach_sessions(connection, key_id, revoked_at=now)
            record(connection, now, actor, "api_key.deleted", tenant, key_id)
        self._forget(key_id, *reached)
        return key_from(row)

    def ensure_admin(self, settings: Settings) -> Key:
        """Make sure that there is an admin key: the one given, or one made at the first start.

        Raises InvalidSetting when the key given has not the form of one.
        """
        key_id, secret = split_key(admin_key(settings))
        with self._database.write() as connection:
            ensure_tenant(connection, DEFAULT_TENANT, self._database.now(connection))
            statement = insert_into(connection, api_keys).values(
                id=key_id,
                tenant=DEFAULT_TENANT,
                name="admin",
                secret_sha256=digest_of(secret),
                scopes=list(SCOPES),
                created_at=self._database.now(connection),
            )
            connection.execute(statement.on_conflict_do_nothing())
        return self.get(DEFAULT_TENANT, key_id)

    def create_link(self, key: Key, *, expires_in: float = 300.0) -> str:
        """A token that signs a browser in once, as the owner of the key."""
        return SigninLinks(self._database).create(key.tenant, key.id, expires_in=expires_in)

    def redeem_link(self, token: str) -> Key:
        """The key that a token stands for; raises Unauthenticated. It is used up by this."""
        tenant, key_id = SigninLinks(self._database).redeem(token)
        return self.usable(self.get(tenant, key_id))

    def _forget(self, *key_ids: str) -> None:
        with self._lock:
            for key_id in key_ids:
                self._cache.pop(key_id, None)

    def _look_up(self, key_ids: Iterable[str]) -> dict[str, tuple[Key, bytes]]:
        """Keys with the digests of their secrets, from the cache where they are fresh there."""
        wanted, now = list(dict.fromkeys(key_ids)), time.monotonic()
        with self._lock:
            entries = {key_id: self._cache.get(key_id) for key_id in wanted}
        found = {
            key_id: (entry[1], entry[2])
            for key_id, entry in entries.items()
            if entry is not None and entry[0] >= now
        }
        missing = [key_id for key_id in wanted if key_id not in found]
        for first in range(0, len(missing), KEYS_AT_ONCE):
            found |= self._load(missing[first : first + KEYS_AT_ONCE])
        return found

    def _load(self, key_ids: Sequence[str]) -> dict[str, tuple[Key, bytes]]:
        with self._database.read() as connection:
            rows = connection.execute(select(api_keys).where(api_keys.c.id.in_(key_ids))).all()
        found = {row.id: (key_from(row), bytes(row.secret_sha256)) for row in rows}
        with self._lock:
            if len(self._cache) + len(found) > CACHE_SIZE:
                self._cache.clear()
            until = time.monotonic() + CACHE_SECONDS
            self._cache |= {key_id: (until, *entry) for key_id, entry in found.items()}
        return found


def _no_session(row: Row[Any]) -> Row[Any]:
    """The row of a key; raises Conflict for that of a session."""
    if row.owner is not None:
        raise Conflict(
            f"{row.id!r} is a browser's session: change the key that it stands for, {row.owner!r}.",
            code="key_not_valid",
        )
    return row


def _reach_sessions(connection: Connection, owner: str, **values: Any) -> list[str]:
    """Do the same to the sessions of a key, none of which lasts longer for it; their ids."""
    if not values:
        return []
    key = api_keys.c
    if "expires_at" in values:
        until = values["expires_at"]
        values["expires_at"] = case((key.expires_at < until, key.expires_at), else_=until)
    return list(
        connection.execute(
            update(api_keys)
            .where(key.owner == owner, key.revoked_at.is_(None))
            .values(**values)
            .returning(key.id)
        ).scalars()
    )
