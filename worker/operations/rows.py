"""The rows of a database as text, and back: the same from SQLite and from PostgreSQL.

Columns and their types are asked of the database, not of the code, so that rows of an earlier
version's tables are read and written as they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.migrations.revisions import VERSION_TABLE

# What belongs to the machines and the moment, not to the service; and the sums of usage, which the
# database makes again when the rows of usage come back.
LEFT_OUT = frozenset((VERSION_TABLE, "workers", "chores", "signin_links", "usage_sums"))
AT_ONCE = 500


def tables(connection: Connection) -> list[sa.TableClause]:
    """The tables there are, those that others refer to first."""
    inspector = sa.inspect(connection)
    names = [name for name, _ in inspector.get_sorted_table_and_fkc_names() if name is not None]
    return [
        sa.table(
            name,
            *(
                sa.column(column["name"], _type(column["type"]))
                for column in inspector.get_columns(name)
            ),
        )
        for name in names
    ]


def read_rows(connection: Connection, table: sa.TableClause) -> Iterator[str]:
    """Each row as a line of JSON, in constant memory."""
    secret = _bytes_of(table)
    for row in connection.execute(sa.select(table), execution_options={"yield_per": AT_ONCE}):
        values = dict(row._mapping)
        for name in secret:
            if values[name] is not None:
                values[name] = base64.b64encode(values[name]).decode()
        yield json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def write_rows(connection: Connection, table: sa.TableClause, lines: Iterable[str]) -> int:
    """Insert rows that ``read_rows`` has written; returns how many."""
    secret = _bytes_of(table)
    count = 0
    pending: list[Mapping[str, Any]] = []
    for line in lines:
        values = json.loads(line)
        for name in secret:
            if values[name] is not None:
                values[name] = base64.b64decode(values[name])
        pending.append(values)
        if len(pending) == AT_ONCE:
            connection.execute(sa.insert(table), pending)
            count += len(pending)
            pending = []
    if pending:
        connection.execute(sa.insert(table), pending)
    return count + len(pending)


def _type(found: Any) -> sa.types.TypeEngine[Any]:
    """JSON's null is SQL's NULL here, as where the rows were made."""
    return type(found)(none_as_null=True) if isinstance(found, sa.JSON) else found


def _bytes_of(table: sa.TableClause) -> list[str]:
    return [column.name for column in table.c if isinstance(column.type, sa.LargeBinary)]
