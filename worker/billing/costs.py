"""What a tenant has spent, and what its running jobs have cost so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Row

from worker.billing.months import bounds, month_of
from worker.billing.prices import ZERO, Line, Prices
from worker.jobs.rows import Job
from worker.jobs.set_aside import set_aside
from worker.jobs.tables import jobs
from worker.storage.database import Database
from worker.tenants.options import MICRO
from worker.usage.job_usage import KIND_OF, job_usage
from worker.usage.quantities import NAMES, Quantities
from worker.usage.sums import billed
from worker.usage.tables import usage


@dataclass(frozen=True, slots=True)
class JobCost:
    """Of one job, in its tenant's currency: what was set aside, and what it costs so far."""

    currency: str
    estimate: Decimal
    so_far: Decimal


class Costs:
    """Usage times prices."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self.prices = prices

    def lines(
        self, connection: Connection, tenant: str, currency: str, start: float, end: float
    ) -> Iterator[Line]:
        """The positions of a span of time; where a price changes in it, one for each price."""
        for since, until in self.prices.periods(currency, start, end):
            rows = connection.execute(
                select(usage.c.kind, *(func.sum(usage.c[name]).label(name) for name in NAMES))
                .where(
                    usage.c.tenant == tenant,
                    usage.c.billable,
                    usage.c.at >= since,
                    usage.c.at < until,
                )
                .group_by(usage.c.kind)
                .order_by(usage.c.kind)
            ).all()
            for row in rows:
                quantities = Quantities(*(row._mapping[name] for name in NAMES))
                yield from self.prices.lines(currency, row.kind, quantities, since)

    def spent(self, connection: Connection, row: Row[Any], now: float) -> Decimal:
        """In the month of now, by the running sums; ``row`` is the tenant's."""
        start, _ = bounds(month_of(now, row.time_zone), row.time_zone)
        total = ZERO
        for since, until in self.prices.periods(row.currency, start, now + 1):
            # Prices change at midnight (UTC); the last piece is open.
            used = billed(connection, row.id, since, None if until > now else until)
            total += sum(
                (self.prices.cost(row.currency, *each, since) for each in used.items()), ZERO
            )
        return total

    def reserved(self, connection: Connection, tenant: str) -> Decimal:
        """Set aside for jobs that are not finished."""
        return Decimal(set_aside(connection, tenant).money) / MICRO

    def of_job(self, job: Job, currency: str) -> JobCost:
        """Of one job as it is now."""
        with self._database.read() as connection:
            at = self._database.now(connection) if job.finished_at is None else job.finished_at
            row = connection.execute(
                select(jobs).where(jobs.c.tenant == job.tenant, jobs.c.id == job.id)
            ).one()
            # What an ended job has used is written down; what it was told by may be removed.
            noted = connection.execute(
                select(*(usage.c[name] for name in NAMES)).where(usage.c.id == job.id)
            ).one_or_none()
            used = job_usage(connection, row) if noted is None else Quantities(*noted)
        free = row.state == "failed" and row.phase != "expired"
        so_far = ZERO if free else self.prices.cost(currency, KIND_OF[job.kind], used, at)
        return JobCost(currency, Decimal(job.reserved) / MICRO, so_far)
