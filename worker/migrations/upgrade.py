"""Brings a database to the newest version of the tables, safely from several processes at once."""

from __future__ import annotations

import time
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

PATIENCE_SECONDS = 60.0
_LOCK = 0x7465787467656E  # "textgen"; any fixed number for PostgreSQL's advisory lock


def upgrade(engine: Engine) -> None:
    """Run the revisions that are missing, all in one transaction under one lock."""
    if engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    with engine.connect() as connection:
        if _is_current(connection):
            return
    with engine.connect() as connection:
        connection.execution_options(textgen_write=True)
        _be_patient(connection)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if not _is_current(connection):
                command.upgrade(_config(connection), "head")


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config


def _is_current(connection: Connection) -> bool:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == head


def _be_patient(connection: Connection) -> None:
    """Another process may be migrating: wait for it longer than for an ordinary write."""
    if connection.dialect.name == "sqlite":
        # Without a transaction yet: the setting is the raw connection's.
        raw = connection.connection.dbapi_connection
        if raw is not None:
            raw.execute(f"PRAGMA busy_timeout = {int(PATIENCE_SECONDS * 1000)}")
    else:
        connection.execute(sa.text(f"SET lock_timeout = '{int(PATIENCE_SECONDS)}s'"))
        connection.execute(sa.text(f"SET statement_timeout = '{int(PATIENCE_SECONDS)}s'"))
        connection.commit()
    # These settings would outlive the migration in the pool.
    connection.detach()


def _use_write_ahead_log(engine: Engine) -> None:
    """Switch once and for all; the switch itself does not obey the busy timeout."""
    give_up = time.monotonic() + PATIENCE_SECONDS
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
