"""Which versions of the tables there are, and which one a database has: without loading Alembic.

Every process that starts asks; only one in a while has to change the tables, and Alembic takes
8 MB of it.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from textgen.errors import TextgenError
from worker.migrations import versions

VERSION_TABLE = "alembic_version"


class UnknownRevision(TextgenError):
    """A version of the tables that this program does not know: a later program made it."""

    default_code = "unknown_revision"


def known_revisions() -> list[str]:
    """The versions of the tables that this program knows, the first one first."""
    names = (module.name for folder in versions.__path__ for module in Path(folder).glob("r*.py"))
    return sorted(name[1:].partition("_")[0] for name in names)


def known_revision(revision: str) -> str:
    """The version that is meant, "head" for the newest; raises UnknownRevision."""
    known = known_revisions()
    if revision == "head":
        return known[-1]
    if revision not in known:
        raise UnknownRevision(
            f"{revision!r} is no version of the tables that this program knows; they are "
            f"{known[0]} to {known[-1]}. A later version of textgen may know it."
        )
    return revision


def current_revision(connection: Connection) -> str | None:
    """The version of the tables; None where there are none yet."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text))
    found: str | None = connection.execute(sa.select(version.c.version_num)).scalar_one_or_none()
    return found
