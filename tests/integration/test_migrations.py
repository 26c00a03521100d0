"""Filled databases of every earlier version go up to this one and back, and lose no row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from worker.billing.months import bounds
from worker.migrations.revisions import (
    VERSION_TABLE,
    UnknownRevision,
    current_revision,
    known_revisions,
)
from worker.operations.rows import tables
from worker.storage.database import Database

REVISIONS = known_revisions()
NEWEST, BEFORE = REVISIONS[-1], REVISIONS[-2]
ROWS = 3


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    else:
        make: Callable[[], str] = request.getfixturevalue("new_postgresql")
        database = Database(make())
        database.downgrade(REVISIONS[0])
        with database.write() as connection:
            names = ", ".join(table.name for table in tables(connection))
            connection.exec_driver_sql(f"DROP TABLE {names} CASCADE")
    yield database
    database.dispose()


def fill(connection: sa.Connection) -> None:
    """Some rows in every table there is, by the types and the constraints that it has."""
    inspector = sa.inspect(connection)
    for table in tables(connection):
        if table.name == VERSION_TABLE:
            continue
        connection.execute(sa.delete(table))  # a version may bring rows of its own
        parents = {
            column: key["referred_table"]
            for key in inspector.get_foreign_keys(table.name)
            for column in key["constrained_columns"]
        }
        allowed = {
            found[1]: found[2]
            for check in inspector.get_check_constraints(table.name)
            if (found := re.search(r"(\w+)\b.*?'(\w+)'", check["sqltext"]))
        }
        for number in range(ROWS):
            values = {
                column.name: f"{parents[column.name]}-id-{number}"
                if column.name in parents
                else allowed.get(column.name) or value(table.name, column, number)
                for column in table.c
            }
            connection.execute(sa.insert(table).values(**values))


def value(table: str, column: sa.ColumnClause[Any], number: int) -> Any:
    kind = column.type
    if isinstance(kind, sa.JSON):
        return {"n": number, "text": "中文", "none": None, "list": [1.5, "x"]}
    if isinstance(kind, sa.Boolean):
        return number % 2 == 0
    if isinstance(kind, sa.LargeBinary):
        return bytes([number]) * 32
    if isinstance(kind, sa.Integer):
        return 10**6 + number
    if isinstance(kind, sa.Numeric | sa.Float):
        return 1_700_000_000.125 + number
    return f"{table}-{column.name}-{number}"


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.read() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for table in tables(connection)
            if table.name != VERSION_TABLE
        }


def by_column(found: list[dict[str, Any]], names: list[str]) -> list[str]:
    return sorted(repr([row[name] for name in names]) for row in found)


@pytest.mark.parametrize(
    "old",
    [pytest.param(old, marks=() if old == BEFORE else pytest.mark.slow) for old in REVISIONS[:-1]],
)
def test_up_and_back_without_losing_a_row(empty: Database, old: str) -> None:
    empty.migrate(old)
    with empty.write() as connection:
        fill(connection)
    before = rows(empty)
    assert all(len(found) == ROWS for found in before.values())

    empty.migrate()

    after = rows(empty)
    for table, found in before.items():
        names = list(found[0])
        kept = by_column(after[table], names)
        assert set(by_column(found, names)) <= set(kept), table
        assert len(kept) >= ROWS
    with empty.read() as connection:
        assert current_revision(connection) == NEWEST

    empty.downgrade(old)

    back = rows(empty)
    assert set(back) == set(before)
    for table, found in before.items():
        assert list(back[table][0]) == list(found[0]), table
        names = list(found[0])
        assert set(by_column(found, names)) <= set(by_column(back[table], names)), table


TENANT = """INSERT INTO tenants
    (id, name, status, weight, currency, time_zone, options, created_at)
    VALUES ('acme', 'A', 'active', 1.0, 'USD', 'Asia/Shanghai', '{}', 1.0)"""
INVOICE = """INSERT INTO invoices (id, tenant, month, currency, lines, total, issued_at)
    VALUES (:month, 'acme', :month, 'USD', '[]', 0, 1.0)"""


def test_invoices_are_told_what_they_bill(empty: Database) -> None:
    empty.migrate("0014")
    months = ["2026-10", "2026-12", "unknown"]
    with empty.write() as connection:
        connection.execute(sa.text(TENANT))
        connection.execute(sa.text(INVOICE), [{"month": month} for month in months])

    empty.migrate()

    with empty.read() as connection:
        found = connection.execute(
            sa.text("SELECT starts_at, ends_at FROM invoices ORDER BY month")
        ).all()
    assert [tuple(row) for row in found] == [
        bounds("2026-10", "Asia/Shanghai"),
        bounds("2026-12", "Asia/Shanghai"),
        (None, None),
    ]
    with pytest.raises(sa.exc.IntegrityError), empty.write() as connection:
        connection.execute(sa.text("UPDATE invoices SET total = 1"))  # they are frozen as before


def test_the_tables_of_a_later_version_are_named(empty: Database) -> None:
    empty.migrate()

    with pytest.raises(UnknownRevision, match="later version"):
        empty.migrate("9999")
    with empty.write() as connection:
        version = sa.table(VERSION_TABLE, sa.column("version_num"))
        connection.execute(sa.update(version).values(version_num="9999"))
    with pytest.raises(UnknownRevision):
        empty.migrate()
