"""Brings a database to the newest version of the tables, safely from several processes at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from textgen.errors import TextgenError

PATIENCE_SECONDS = 60.0
_LOCK = 0x7465787467656E  # "textgen"; any fixed number for PostgreSQL's advisory lock


class UnknownRevision(TextgenError):
    """A version of the tables that this program does not know: a later program made it."""

    default_code = "unknown_revision"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run the revisions that are missing, all in one transaction under one lock."""
    _move(engine, revision, command.upgrade)


def downgrade(engine: Engine, revision: str) -> None:
    """Undo revisions down to this one, all in one transaction under one lock."""
    _move(engine, revision, command.downgrade)


def _move(engine: Engine, revision: str, run: Callable[[Config, str], None]) -> None:
    revision = _known(revision)
    if engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    with engine.connect() as connection:
        if _is_at(connection, revision):
            return
    with engine.connect() as connection:
        connection.execution_options(textgen_write=True)
        _be_patient(connection)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if not _is_at(connection, revision):
                try:
                    run(_config(connection), revision)
                except CommandError as error:
                    raise UnknownRevision(
                        f"The tables cannot be brought to version {revision}: {error}"
                    ) from error


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config


def known_revisions() -> list[str]:
    """The versions of the tables that this program knows, the first one first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def _known(revision: str) -> str:
    known = known_revisions()
    if revision == "head":
        return known[-1]
    if revision not in known:
        raise UnknownRevision(
            f"{revision!r} is no version of the tables that this program knows; they are "
            f"{known[0]} to {known[-1]}. A later version of textgen may know it."
        )
    return revision


def _is_at(connection: Connection, revision: str) -> bool:
    return MigrationContext.configure(connection).get_current_revision() == revision


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
