"""One door to SQL: transactions on SQLite or PostgreSQL, the clock that leases go by, migrations.

Errors: the database away, locked or too slow → DatabaseUnavailable; its disk full → DatabaseFull.
When the connection breaks during COMMIT, nobody knows whether the write took place: the caller
gets DatabaseUnavailable and must be able to repeat the request.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.errors import DatabaseFull, DatabaseUnavailable
from worker.migrations.revisions import current_revision, known_revision
from worker.storage.sql_engine import make_engine, use_write_ahead_log

BUSY_SECONDS = 5.0
_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_AFTER_COMMIT = "textgen_after_commit"  # of a connection: what its transaction is followed by
_POSTGRESQL_DISK_FULL = "53100"
_POSTGRESQL_AWAY = ("08", "40", "53", "55P03", "57")  # see its appendix of error codes


class Database:
    """Connections of one process; safe to share between threads, not across a fork."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.url = url
        self._clock = clock
        self._engine = make_engine(url, busy_seconds)
        self.is_sqlite = self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; nothing written in it is kept."""
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One consistent view, however long it is looked at; nothing can be written in it."""
        with _translated(), self._engine.connect() as connection:
            if self.is_sqlite:
                yield connection
                return
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {name} = 0")
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back by any exception."""
        with _translated(), self._engine.connect() as connection:
            connection.execution_options(textgen_write=True)
            after: list[Callable[[], object]] = []
            connection.info[_AFTER_COMMIT] = after
            with connection.begin():
                yield connection
        for action in after:
            action()

    def now(self, connection: Connection) -> float:
        """Seconds since 1970 by the clock that leases go by: the database's where it has one."""
        if self.is_sqlite:
            return self._clock()
        return float(
            connection.execute(
                sa.text("SELECT extract(epoch FROM clock_timestamp())::double precision")
            ).scalar_one()
        )

    def ping(self) -> None:
        """Raise DatabaseUnavailable unless a query is answered."""
        with self.read() as connection:
            connection.execute(sa.select(1))

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to the newest version, or from an earlier one to this.

        Any number of processes may do so at once. Raises UnknownRevision.
        """
        revision = known_revision(revision)
        with _translated():
            if self.is_sqlite:
                use_write_ahead_log(self._engine)
            with self.read() as connection:
                if current_revision(connection) == revision:
                    return
            from worker.migrations.upgrade import upgrade  # Alembic is slow to load

            upgrade(self._engine, revision)

    def downgrade(self, revision: str) -> None:
        """Take the tables back to an earlier version; what only later ones hold is lost.

        Raises UnknownRevision.
        """
        from worker.migrations.upgrade import downgrade

        with _translated():
            downgrade(self._engine, known_revision(revision))

    def dispose(self) -> None:
        """Close the idle connections."""
        self._engine.dispose()


def after_commit(connection: Connection, action: Callable[[], object]) -> None:
    """Do something once the transaction of `Database.write` has been committed; quick, or never."""
    connection.info[_AFTER_COMMIT].append(action)


def insert_into(connection: Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's complaints that time may heal into ours; let the rest through."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable(
            "All database connections of this process are busy. Try again shortly."
        ) from error
    except (OperationalError, InterfaceError) as error:
        raise _explain(error) from error


def _explain(error: DBAPIError) -> Exception:
    """The error to raise instead, or the same one where waiting would not help."""
    original: Any = error.orig
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        full, away = code == sqlite3.SQLITE_FULL, code in _SQLITE_AWAY
    else:
        state = getattr(original, "sqlstate", None)  # None: there was no answer at all
        full = state == _POSTGRESQL_DISK_FULL
        away = state is None or state.startswith(_POSTGRESQL_AWAY)
    if full:
        return DatabaseFull("The database's disk is full. Free some space, then try again.")
    if away:
        return DatabaseUnavailable(f"The database does not answer: {original}. Try again shortly.")
    return error
