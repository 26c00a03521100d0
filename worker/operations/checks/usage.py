"""Usage that nobody can be asked about, and sums of it that are not the sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    select,
    text,
)
from sqlalchemy.engine import Connection, Row

from worker.jobs.tables import jobs
from worker.operations.checks.finding import Finding
from worker.storage.database import Database
from worker.tenants.tables import tenants
from worker.usage.quantities import NAMES, Quantities
from worker.usage.sums import WIDTHS
from worker.usage.tables import usage, usage_sums

NO_JOB = (
    "Usage without its job is billed all the same, and stays: look into it, and give back by a "
    "credit (`textgen usage credit`) what should not have been billed."
)
Span = tuple[int, int, str]  # width, start, kind


class OrphanUsage:
    """Rows of usage whose tenant was deleted, or whose job is not there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self) -> Iterator[Finding]:
        """By two queries, over all that was ever used."""
        with self._database.snapshot() as connection:
            ownerless = connection.execute(
                select(usage.c.tenant, func.count().label("rows"))
                .where(_has_no_tenant())
                .group_by(usage.c.tenant)
            ).all()
            jobless = connection.execute(
                select(usage.c.tenant, usage.c.job_id).where(
                    usage.c.job_id.is_not(None),
                    not_(exists().where(jobs.c.id == usage.c.job_id)),
                    not_(_has_no_tenant()),
                )
            ).all()
        for row in ownerless:
            detail = f"{row.rows:,} rows of usage; the project is gone"
            yield Finding("orphan_usage", row.tenant, detail, row.tenant)
        for row in jobless:
            detail = "usage of a job that is not there"
            yield Finding("orphan_usage", row.job_id, detail, row.tenant, NO_JOB)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Delete what a tenant has left that is still gone, as its deletion would have."""
        for finding in findings:
            with self._database.write() as connection:
                connection.execute(
                    delete(usage).where(usage.c.tenant == finding.tenant, _has_no_tenant())
                )


class UsageSums:
    """Running sums that differ from what they are the sums of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self) -> Iterator[Finding]:
        """Tenant by tenant, in one view of the database."""
        with self._database.snapshot() as connection:
            found = select(usage.c.tenant).union(select(usage_sums.c.tenant))
            for tenant in sorted(connection.execute(found).scalars()):
                wrong = _wrong(self._database, connection, tenant)
                if wrong:
                    detail = f"{wrong:,} running sums are not those of the rows"
                    yield Finding("wrong_usage_sum", tenant, detail, tenant)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Add up each anew that is still wrong; who writes usage waits for it."""
        for finding in findings:
            tenant = finding.id
            with self._database.write() as connection:
                owner = select(tenants.c.id).where(tenants.c.id == tenant)
                connection.execute(owner.with_for_update())  # who deletes it has it first, too
                if not self._database.is_sqlite:
                    connection.execute(text("SET LOCAL statement_timeout = 0"))  # years of rows
                    connection.execute(text("LOCK TABLE usage IN SHARE ROW EXCLUSIVE MODE"))
                if not _wrong(self._database, connection, tenant):
                    continue
                connection.execute(delete(usage_sums).where(usage_sums.c.tenant == tenant))
                for width in WIDTHS:
                    columns = ["tenant", "width", "start", "kind", *NAMES]
                    rows = _added(self._database, tenant, width)
                    connection.execute(insert(usage_sums).from_select(columns, rows))


def _wrong(database: Database, connection: Connection, tenant: str) -> int:
    """How many sums of a tenant differ; those of nothing may be there or not."""
    there = _by_span(
        connection.execute(select(usage_sums).where(usage_sums.c.tenant == tenant)).all()
    )
    right: dict[Span, Quantities] = {}
    for width in WIDTHS:
        right |= _by_span(connection.execute(_added(database, tenant, width)).all())
    nothing = Quantities()
    return sum(
        not _are_same(there.get(span, nothing), right.get(span, nothing))
        for span in there.keys() | right.keys()
    )


def _by_span(rows: Sequence[Row[Any]]) -> dict[Span, Quantities]:
    return {(row.width, row.start, row.kind): Quantities.of(row) for row in rows}


def _are_same(one: Quantities, other: Quantities) -> bool:
    """Times are added up in another order, so that their last digits differ."""
    return all(
        math.isclose(getattr(one, name), getattr(other, name), rel_tol=1e-9, abs_tol=1e-6)
        if isinstance(getattr(one, name), float)
        else getattr(one, name) == getattr(other, name)
        for name in NAMES
    )


def _added(database: Database, tenant: str, width: int) -> Select[Any]:
    """The sums as they should be: tenant, span and amounts."""
    place = usage.c.at / width
    number = cast(place if database.is_sqlite else func.floor(place), BigInteger)
    start = (number * width).label("start")
    amounts = (func.sum(usage.c[name]).label(name) for name in NAMES)
    return (
        select(
            usage.c.tenant,
            literal(width, BigInteger, literal_execute=True).label("width"),
            start,
            usage.c.kind,
            *amounts,
        )
        .where(and_(usage.c.tenant == tenant, usage.c.billable))
        .group_by(usage.c.tenant, start, usage.c.kind)
    )


def _has_no_tenant() -> ColumnElement[bool]:
    return not_(exists().where(tenants.c.id == usage.c.tenant))
