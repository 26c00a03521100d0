"""What databases are asked, and how they would find it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa


class Asked(NamedTuple):
    """A statement, its parameters, and whether a transaction that may write has asked it."""

    statement: str
    parameters: Any
    writes: bool


@contextmanager
def statements(wanted: Callable[[str], bool] = bool) -> Iterator[list[Asked]]:
    """What any database is asked meanwhile, where the statement is ``wanted``."""
    found: list[Asked] = []

    def note(
        connection: sa.Connection, _cursor: object, statement: str, parameters: Any, *_: object
    ) -> None:
        if wanted(statement):
            writes = connection.get_execution_options().get("textgen_write", False)
            found.append(Asked(statement, parameters, writes))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def explain(connection: sa.Connection, asked: Asked) -> list[str]:
    """The steps of a plan; on PostgreSQL as if reading a whole table were dear, as it will be."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked.statement}", asked.parameters)
        return [f"{row[3]} (" if " USING " not in row[3] else row[3] for row in rows]
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    rows = connection.exec_driver_sql(f"EXPLAIN {asked.statement}", asked.parameters)
    return [str(row[0]).strip(" ->") for row in rows]
