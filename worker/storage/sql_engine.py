"""How connections to SQLite and PostgreSQL are set up.

SQLite: write-ahead log, synchronous FULL, foreign keys, and every write begins IMMEDIATE, because
a transaction that starts reading and then writes fails at once in spite of the busy timeout.
PostgreSQL: read committed, short timeouts, so that a stopped process cannot hold a row for long.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from worker.errors import InvalidSetting

WAL_PATIENCE_SECONDS = 60.0
POSTGRESQL_SETTINGS = (
    "SET statement_timeout = '30s'",
    "SET lock_timeout = '5s'",
    # A process that is stopped in mid-transaction must not hold a job's row for long.
    "SET idle_in_transaction_session_timeout = '15s'",
)
# Keepalives and a bound on unanswered bytes: a half-open connection is noticed in 15 s.
POSTGRESQL_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def make_engine(url: str, busy_seconds: float) -> Engine:
    """SQLAlchemy's engine for a URL; InvalidSetting for one that cannot be used."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = sa.create_engine(parsed, connect_args={"timeout": busy_seconds})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        elif parsed.drivername == "postgresql+psycopg":
            engine = sa.create_engine(
                parsed,
                connect_args=POSTGRESQL_CONNECT,
                pool_pre_ping=True,
                pool_timeout=busy_seconds,
                pool_size=10,
                max_overflow=20,
            )
            event.listen(engine, "connect", _prepare_postgresql)
        else:
            raise ArgumentError(parsed.drivername)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InvalidSetting(
            f"The database URL cannot be used ({error}): "
            "give sqlite:///path or postgresql+psycopg://user:password@host/name.",
            param="TEXTGEN_DATABASE_URL",
        ) from None
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("textgen_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        for statement in POSTGRESQL_SETTINGS:
            cursor.execute(statement)
    connection.commit()


def use_write_ahead_log(engine: Engine) -> None:
    """Switch a SQLite file once and for all; the switch itself does not obey the busy timeout."""
    give_up = time.monotonic() + WAL_PATIENCE_SECONDS
    raw = engine.raw_connection()
    try:
        while True:
            try:
                mode = raw.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except Exception as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
    finally:
        raw.close()
    if mode[0] != "wal":
        raise OperationalError(
            "PRAGMA journal_mode = WAL", None, RuntimeError(f"journal mode stayed {mode[0]}")
        )
