"""Work that is done now and then, by one process at a time however many could do it.

Who does it holds a lease on the chore's row and renews it within each of its own transactions.
The row stays locked until such a transaction ends, so nobody else can have taken the chore over
when it commits.
"""

from __future__ import annotations

import secrets

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.engine import Connection

from worker.errors import LeaseLost
from worker.storage.database import Database, insert_into
from worker.storage.tables import chores

LEASE_SECONDS = 300.0


class Chore:
    """One process's part in a chore. Used by one thread at a time."""

    def __init__(
        self, database: Database, name: str, *, every: float, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._database = database
        self._name = name
        self._every = every
        self._lease = lease_seconds
        self._holder = secrets.token_hex(8)

    def begin(self) -> bool:
        """Take it, if it is due and nobody has it."""
        with self._database.read() as connection:
            row = connection.execute(
                select(chores.c.name).where(chores.c.name == self._name)
            ).first()
            free = connection.execute(
                select(chores.c.name).where(self._free(self._database.now(connection)))
            ).first()
        if row is not None and free is None:
            return False
        with self._database.write() as connection:
            connection.execute(
                insert_into(connection, chores)
                .values(name=self._name, due_at=0.0, holder="", held_until=0.0)
                .on_conflict_do_nothing()
            )
            now = self._database.now(connection)
            taken = connection.execute(
                update(chores)
                .where(self._free(now))
                .values(holder=self._holder, held_until=now + self._lease)
            )
            return taken.rowcount == 1

    def hold(self, connection: Connection) -> None:
        """Renew the lease within a transaction that does some of the work; raises LeaseLost."""
        now = self._database.now(connection)
        held = connection.execute(
            update(chores)
            .where(chores.c.name == self._name, chores.c.holder == self._holder)
            .values(held_until=now + self._lease)
        )
        if held.rowcount != 1:
            raise LeaseLost(f"The chore {self._name!r} was taken over by another process.")

    def end(self, *, done: bool) -> None:
        """Let go of it; it is due again after ``every`` seconds if it was done, else at once."""
        with self._database.write() as connection:
            values: dict[str, object] = {"holder": "", "held_until": 0.0}
            if done:
                values["due_at"] = self._database.now(connection) + self._every
            connection.execute(
                update(chores)
                .where(chores.c.name == self._name, chores.c.holder == self._holder)
                .values(**values)
            )

    def _free(self, now: float) -> ColumnElement[bool]:
        """Due and held by nobody; times too far ahead are of a clock that was set back since."""
        due, until = chores.c.due_at, chores.c.held_until
        return and_(
            chores.c.name == self._name,
            or_(due <= now, due > now + self._every),
            or_(until < now, until > now + self._lease),
        )
