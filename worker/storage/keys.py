"""API keys: ``tg_<id>_<secret>``, of which only the SHA-256 of the secret is stored."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Row

from textgen.errors import InvalidOption
from worker.errors import NotFound, Unauthenticated
from worker.settings import Settings
from worker.storage.database import Database, insert_into
from worker.storage.key_files import admin_key, digest_of, make_key, split_key
from worker.storage.signin_links import SigninLinks
from worker.storage.tables import api_keys

SCOPES = ("read", "generate", "train", "admin")
DEFAULT_TENANT = "default"
CACHE_SECONDS = 5.0  # so long may another process still take a key that was revoked
CACHE_SIZE = 10_000


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


class Keys:
    """The keys of every tenant. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, Key, bytes]] = {}

    def create(
        self, tenant: str, name: str, scopes: Sequence[str], *, expires_in: float | None = None
    ) -> tuple[Key, str]:
        """A new key, and its plaintext, which is shown this once."""
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InvalidOption(
                f"'scopes' is {list(scopes)}: give some of {', '.join(SCOPES)}.", param="scopes"
            )
        plaintext = make_key()
        key_id, secret = split_key(plaintext)
        key = self._insert(tenant, name, scopes, key_id, secret, expires_in)
        return key, plaintext

    def authenticate(self, plaintext: str) -> Key:
        """The key that this is; raises Unauthenticated. Known keys are looked up every 5 s."""
        try:
            key_id, secret = split_key(plaintext)
        except ValueError:
            raise Unauthenticated("This is no API key; one looks like tg_<id>_<secret>.") from None
        digest = digest_of(secret)
        found = self._cached(key_id)
        if found is None:
            found = self._load(key_id)
        key, expected = found
        if not hmac.compare_digest(digest, expected):
            raise Unauthenticated("Wrong API key.")
        return _usable(key)

    def get(self, tenant: str, key_id: str) -> Key:
        """One key; raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(
                select(api_keys).where(api_keys.c.tenant == tenant, api_keys.c.id == key_id)
            ).one_or_none()
        if row is None:
            raise _missing(key_id)
        return _from(row)

    def list(self, tenant: str) -> list[Key]:
        """All keys, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(api_keys)
                .where(api_keys.c.tenant == tenant)
                .order_by(api_keys.c.created_at, api_keys.c.id)
            ).all()
        return [_from(row) for row in rows]

    def revoke(self, tenant: str, key_id: str) -> Key:
        """Make a key useless: here at once, in other processes within 5 s; raises NotFound."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = connection.execute(
                update(api_keys)
                .where(api_keys.c.tenant == tenant, api_keys.c.id == key_id)
                .values(revoked_at=func.coalesce(api_keys.c.revoked_at, now))
                .returning(*api_keys.c)
            ).one_or_none()
        if row is None:
            raise _missing(key_id)
        with self._lock:
            self._cache.pop(key_id, None)
        return _from(row)

    def ensure_admin(self, settings: Settings) -> Key:
        """Make sure that there is an admin key: the one given, or one made at the first start.

        Raises InvalidSetting when the key given has not the form of one.
        """
        key_id, secret = split_key(admin_key(settings))
        with self._database.write() as connection:
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
        return _usable(self.get(tenant, key_id))

    def _insert(
        self,
        tenant: str,
        name: str,
        scopes: Sequence[str],
        key_id: str,
        secret: str,
        expires_in: float | None,
    ) -> Key:
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = connection.execute(
                insert(api_keys)
                .values(
                    id=key_id,
                    tenant=tenant,
                    name=name,
                    secret_sha256=digest_of(secret),
                    scopes=list(dict.fromkeys(scopes)),
                    created_at=now,
                    expires_at=None if expires_in is None else now + expires_in,
                )
                .returning(*api_keys.c)
            ).one()
        return _from(row)

    def _cached(self, key_id: str) -> tuple[Key, bytes] | None:
        with self._lock:
            entry = self._cache.get(key_id)
        if entry is None or entry[0] < time.monotonic():
            return None
        return entry[1], entry[2]

    def _load(self, key_id: str) -> tuple[Key, bytes]:
        with self._database.read() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise Unauthenticated("Wrong API key.")
        found = _from(row), bytes(row.secret_sha256)
        with self._lock:
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[key_id] = (time.monotonic() + CACHE_SECONDS, *found)
        return found


def _usable(key: Key) -> Key:
    """The key itself, unless its time is over; raises Unauthenticated."""
    if key.revoked_at is not None:
        raise Unauthenticated("This API key was revoked.", code="key_revoked")
    if key.expires_at is not None and key.expires_at <= time.time():
        raise Unauthenticated("This API key has expired.", code="key_expired")
    return key


def _from(row: Row[Any]) -> Key:
    return Key(**{name: row._mapping[name] for name in Key.__dataclass_fields__})


def _missing(key_id: str) -> NotFound:
    return NotFound(f"There is no API key {key_id[:100]!r}.", code="key_not_found", param="key_id")
