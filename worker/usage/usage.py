"""Reading what was used: sums by time and by what clients ask for, and the rows themselves."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, and_, cast, func, select, tuple_
from sqlalchemy.engine import Row

from worker.storage.database import Database
from worker.usage.quantities import NAMES, Quantities
from worker.usage.tables import usage

GroupBy = Literal["project_id", "api_key_id", "model", "batch", "kind"]
_COLUMNS = {
    "project_id": usage.c.tenant,
    "api_key_id": usage.c.api_key,
    "model": usage.c.model,
    "kind": usage.c.kind,
    "batch": usage.c.kind == "batches",
}
PAGE = 500


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which rows: from ``start`` (inclusive) to ``end`` (exclusive), seconds since 1970."""

    start: float
    end: float
    tenants: Sequence[str] | None = None  # None: of all
    kinds: Sequence[str] = ()
    models: Sequence[str] = ()
    api_keys: Sequence[str] = ()
    billable_only: bool = False


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One row."""

    id: str
    tenant: str
    kind: str
    model: str | None
    api_key: str | None
    job_id: str | None
    outcome: str
    billable: bool
    at: float
    quantities: Quantities


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What was used of one group in one bucket, which begins at ``start``."""

    start: float
    group: Mapping[GroupBy, Any]
    quantities: Quantities


class Usage:
    """Reads for clients and bills."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sums(
        self, query: UsageQuery, width: float, group_by: Sequence[GroupBy] = ()
    ) -> list[UsageSum]:
        """Sums in buckets of ``width`` seconds from the query's start on; empty ones are left out.

        In each bucket by group.
        """
        place = (usage.c.at - query.start) / width
        number = cast(place if self._database.is_sqlite else func.floor(place), Integer)
        columns = [
            number.label("bucket"),
            *(_COLUMNS[each].label(_label(each)) for each in group_by),
        ]
        statement = select(*columns, *_summed()).where(_where(query)).group_by(*columns)
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(*columns)).all()
        return [
            UsageSum(
                query.start + row.bucket * width,
                {name: row._mapping[_label(name)] for name in group_by},
                Quantities.of(row),
            )
            for row in rows
        ]

    def total(self, query: UsageQuery) -> Quantities:
        """All of it."""
        with self._database.read() as connection:
            row = connection.execute(select(*_summed()).where(_where(query))).one()
        return Quantities.of(row)

    def rows(self, query: UsageQuery) -> Iterator[UsageRow]:
        """Row by row in the order of time, with a page of each tenant asked for in memory."""
        walks = [query]  # each along one index
        if query.tenants is not None:
            walks = [replace(query, tenants=[each]) for each in dict.fromkeys(query.tenants)]
        return heapq.merge(*map(self._walk, walks), key=lambda row: (row.at, row.id))

    def _walk(self, query: UsageQuery) -> Iterator[UsageRow]:
        """The rows of one tenant or of all; each page is found where the one before ended."""
        place = tuple_(usage.c.at, usage.c.id)
        last = (query.start, "")
        while True:
            # The place is the only lower bound: beside another the index might not be used for it.
            wanted = and_(place > last, usage.c.at < query.end, *_chosen(query))
            with self._database.read() as connection:
                page = connection.execute(
                    select(usage).where(wanted).order_by(usage.c.at, usage.c.id).limit(PAGE)
                ).all()
            yield from map(_row, page)
            if len(page) < PAGE:
                return
            last = page[-1].at, page[-1].id


def _label(name: str) -> str:
    return f"by_{name}"


def _where(query: UsageQuery) -> ColumnElement[bool]:
    return and_(usage.c.at >= query.start, usage.c.at < query.end, *_chosen(query))


def _chosen(query: UsageQuery) -> Iterator[ColumnElement[bool]]:
    """What is asked of a row beside its time."""
    if query.tenants is not None:
        yield usage.c.tenant.in_(list(query.tenants))
    for column, values in (
        (usage.c.kind, query.kinds),
        (usage.c.model, query.models),
        (usage.c.api_key, query.api_keys),
    ):
        if values:
            yield column.in_(list(values))
    if query.billable_only:
        yield usage.c.billable


def _summed() -> list[Any]:
    return [func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in NAMES]


def _row(row: Row[Any]) -> UsageRow:
    named = {
        name: row._mapping[name] for name in UsageRow.__dataclass_fields__ if name != "quantities"
    }
    return UsageRow(**named, quantities=Quantities.of(row))
