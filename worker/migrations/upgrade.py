"""Brings a database to the newest version of the tables, safely from several processes at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy.engine import Connection, Engine

from worker.migrations.revisions import UnknownRevision, current_revision

PATIENCE_SECONDS = 60.0
_LOCK = 0x7465787467656E  # "textgen"; any fixed number for PostgreSQL's advisory lock


def upgrade(engine: Engine, revision: str) -> None:
    """Run the revisions that are missing, all in one transaction under one lock."""
    _move(engine, revision, command.upgrade)


def downgrade(engine: Engine, revision: str) -> None:
    """Undo revisions down to this one, all in one transaction under one lock."""
    _move(engine, revision, command.downgrade)


def _move(engine: Engine, revision: str, run: Callable[[Config, str], None]) -> None:
    with engine.connect() as connection:
        connection.execution_options(textgen_write=True)
        _be_patient(connection)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if current_revision(connection) != revision:
                try:
                    run(_config(connection), revision)
                except CommandError as error:
                    raise UnknownRevision(
                        f"The tables cannot be brought to version {revision}: {error}"
                    ) from error


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config


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
