"""Monthly invoices: drafts as often as wanted, issued once, corrected by credits alone.

A month is one of the tenant's calendar, but begins where the bill of the month before has ended:
a tenant whose time zone was changed is billed for every hour once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Row

from textgen.errors import InvalidOption
from worker.billing.costs import Costs
from worker.billing.currencies import is_open_credit
from worker.billing.invoice import Invoice, InvoiceLine, invoice_from
from worker.billing.months import bounds, month_after
from worker.billing.prices import UNITS
from worker.billing.tables import credits_table, invoices
from worker.errors import Conflict, NotFound
from worker.storage.database import Database
from worker.storage.ids import new_id
from worker.tenants.audit import OPERATOR, Actor, record
from worker.tenants.options import MICRO
from worker.tenants.tenants import locked
from worker.usage.tables import usage

SETTLE_SECONDS = 3600  # after a month's end, for usage that is still being written


class Invoices:
    """The bills of every tenant."""

    def __init__(self, database: Database, costs: Costs) -> None:
        self._database = database
        self._costs = costs

    def draft(self, tenant: str, month: str) -> Invoice:
        """The bill as it would be now; raises NotFound, InvalidOption."""
        with self._database.write() as connection:
            return self._made(connection, locked(connection, tenant), month)

    def issue(self, tenant: str, month: str, actor: Actor = OPERATOR) -> Invoice:
        """Freeze a month's bill; the one issued before where there is one.

        Raises NotFound, and InvalidOption before the month is over and its usage written.
        """
        with self._database.write() as connection:
            owner = locked(connection, tenant)
            earlier = connection.execute(
                select(invoices).where(invoices.c.tenant == tenant, invoices.c.month == month)
            ).one_or_none()
            if earlier is not None:
                return invoice_from(earlier)
            _, end = _span(connection, owner, month)
            now = self._database.now(connection)
            if now < end + SETTLE_SECONDS:
                raise InvalidOption(
                    f"{month} cannot be billed yet: its usage is complete an hour after its end.",
                    code="month_not_over",
                    param="month",
                )
            made = self._made(connection, owner, month)
            invoice_id = new_id("inv_")
            row = connection.execute(
                insert(invoices)
                .values(
                    id=invoice_id,
                    tenant=tenant,
                    month=month,
                    currency=made.currency,
                    lines=[asdict(line) for line in made.lines],
                    total=int(made.total * MICRO),
                    issued_at=now,
                    starts_at=made.starts_at,
                    ends_at=made.ends_at,
                )
                .returning(*invoices.c)
            ).one()
            connection.execute(
                update(credits_table)
                .where(is_open_credit(tenant, made.currency))
                .values(settled_by=invoice_id)
            )
            data = {"month": month, "total": str(made.total)}
            record(connection, now, actor, "invoice.issued", tenant, invoice_id, data)
        return invoice_from(row)

    def credit(
        self,
        tenant: str,
        invoice_id: str,
        amount: Decimal,
        reason: str,
        *,
        job_id: str | None = None,
        actor: Actor = OPERATOR,
    ) -> str:
        """Give something back of an invoice, on the next one.

        All credits of an invoice together are at most its total. Raises NotFound, InvalidOption,
        and Conflict where the next one is in another currency.
        """
        if not amount > 0:
            raise InvalidOption(f"'amount' is {amount}: give more than 0.", param="amount")
        with self._database.write() as connection:
            owner = locked(connection, tenant)
            invoice = self._issued(connection, tenant, invoice_id)
            if invoice.currency != owner.currency:
                raise Conflict(
                    f"The invoice {invoice_id!r} is in {invoice.currency}, and the project's next "
                    f"one is in {owner.currency}. Change the project's currency to "
                    f"{invoice.currency}, give it back, issue the next invoice, then change the "
                    "currency again.",
                    code="other_currency",
                )
            given = connection.execute(
                select(credits_table.c.amount).where(
                    credits_table.c.tenant == tenant, credits_table.c.invoice_id == invoice_id
                )
            ).scalars()
            left = invoice.total - Decimal(sum(given)) / MICRO
            if amount > left:
                raise InvalidOption(
                    f"'amount' is {amount}: of this invoice {left:.2f} {invoice.currency} are "
                    "left to give back.",
                    param="amount",
                )
            now = self._database.now(connection)
            credit_id = new_id("credit_")
            connection.execute(
                insert(credits_table).values(
                    id=credit_id,
                    tenant=tenant,
                    invoice_id=invoice_id,
                    job_id=job_id,
                    amount=int(amount * MICRO),
                    reason=reason,
                    created_at=now,
                )
            )
            data = {"invoice": invoice_id, "amount": str(amount), "job_id": job_id}
            record(connection, now, actor, "invoice.credited", tenant, credit_id, data)
        return credit_id

    def get(self, tenant: str, invoice_id: str) -> Invoice:
        """One that was issued; raises NotFound."""
        with self._database.read() as connection:
            return self._issued(connection, tenant, invoice_id)

    def list(self, tenant: str) -> list[Invoice]:
        """Those issued, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(invoices)
                .where(invoices.c.tenant == tenant)
                .order_by(invoices.c.month.desc())
            ).all()
        return [invoice_from(row) for row in rows]

    def _issued(self, connection: Connection, tenant: str, invoice_id: str) -> Invoice:
        row = connection.execute(
            select(invoices).where(invoices.c.tenant == tenant, invoices.c.id == invoice_id)
        ).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no invoice {invoice_id[:100]!r}.",
                code="invoice_not_found",
                param="invoice_id",
            )
        return invoice_from(row)

    def _made(self, connection: Connection, owner: Row[Any], month: str) -> Invoice:
        start, end = _span(connection, owner, month)
        lines = []
        total = Decimal(0)
        for line in self._costs.lines(connection, owner.id, owner.currency, start, end):
            amount = _rounded(line.amount)
            total += amount
            ids = self._job_ids(connection, owner.id, line.kind, line.unit, start, end)
            quantity, price = _plain(line.quantity), _plain(line.unit_price)
            lines.append(
                InvoiceLine(line.kind, line.unit, quantity, price, _plain(amount), tuple(ids))
            )
        open_credits = connection.execute(
            select(credits_table)
            .where(is_open_credit(owner.id, owner.currency))
            .order_by(credits_table.c.id)
        ).all()
        for row in open_credits:
            amount = -Decimal(row.amount) / MICRO
            total += amount
            ids = [] if row.job_id is None else [row.job_id]
            what = f"{row.invoice_id}: {row.reason}"
            lines.append(InvoiceLine("credit", what, "1", _plain(amount), _plain(amount), ids))
        return Invoice("", owner.id, month, owner.currency, lines, total, None, start, end)

    def _job_ids(
        self, connection: Connection, tenant: str, kind: str, unit: str, start: float, end: float
    ) -> Sequence[str]:
        counted = usage.c[UNITS[unit][0]]
        found = connection.execute(
            select(usage.c.job_id)
            .where(
                usage.c.tenant == tenant,
                usage.c.kind == kind,
                usage.c.billable,
                usage.c.job_id.is_not(None),
                usage.c.at >= start,
                usage.c.at < end,
                counted > 0,
            )
            .order_by(usage.c.at, usage.c.job_id)
        ).scalars()
        return [str(job_id) for job_id in found]


def _span(connection: Connection, owner: Row[Any], month: str) -> tuple[float, float]:
    """What the bill of a month bills: between those that are issued nothing is left out or twice.

    Where the month before or behind has none, it is the month as the tenant's calendar has it now.
    """
    start, end = bounds(month, owner.time_zone)
    issued = connection.execute(
        select(invoices.c.month, invoices.c.starts_at, invoices.c.ends_at)
        .where(invoices.c.tenant == owner.id)
        .order_by(invoices.c.month)
    ).all()
    for row in issued:
        since, until = row.starts_at, row.ends_at
        if since is None or until is None:
            since, until = bounds(row.month, owner.time_zone)
        if row.month == month:
            return since, until
        if row.month < month:
            start = until if month_after(row.month) == month else max(start, until)
        else:
            end = since if month_after(month) == row.month else min(end, since)
    return start, end


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"), ROUND_HALF_UP)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
