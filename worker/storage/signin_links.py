"""Links that sign a browser in once, so that nobody has to paste a key."""

from __future__ import annotations

import secrets

from sqlalchemy import delete, insert

from worker.errors import Unauthenticated
from worker.storage.database import Database
from worker.storage.key_files import digest_of
from worker.storage.tables import signin_links


class SigninLinks:
    """One-time tokens that stand for a key. Only their hash is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, tenant: str, key_id: str, *, expires_in: float = 300.0) -> str:
        """A new token; whoever brings it first, and in time, acts with that key."""
        token = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            now = self._database.now(connection)
            connection.execute(delete(signin_links).where(signin_links.c.expires_at < now))
            connection.execute(
                insert(signin_links).values(
                    secret_sha256=digest_of(token),
                    tenant=tenant,
                    key_id=key_id,
                    created_at=now,
                    expires_at=now + expires_in,
                )
            )
        return token

    def redeem(self, token: str) -> tuple[str, str]:
        """Tenant and key id of a token, which is used up by this; raises Unauthenticated."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = connection.execute(
                delete(signin_links)
                .where(
                    signin_links.c.secret_sha256 == digest_of(token),
                    signin_links.c.expires_at >= now,
                )
                .returning(signin_links.c.tenant, signin_links.c.key_id)
            ).one_or_none()
        if row is None:
            raise Unauthenticated(
                "This sign-in link was used already or is too old. `textgen up` prints a new one.",
                code="invalid_signin_link",
            )
        return row.tenant, row.key_id
