"""Monthly invoices: drafts as often as wanted, issued once, corrected by credits alone.

A month is one of the tenant's calendar, but begins where the bill of the month before has ended:
a tenant whose time zone was changed is billed for every hour once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from worker.tenants.tables import tenants
from worker.tenants.tenants import locked, no_tenant
from worker.usage.quantities import NAMES
from worker.usage.tables import usage

SETTLE_SECONDS = 3600  # after a month's end, for usage that is still being written

Span = tuple[float, float]  # from and until, seconds since 1970


class Invoices:
    """The bills of every tenant."""

    def __init__(self, database: Database, costs: Costs) -> None:
        self._database = database
        self._costs = costs

    def draft(self, tenant: str, month: str) -> Invoice:
        """The bill as it would be now; raises NotFound, InvalidOption.

        Nobody waits while a long month is read.
        """
        with self._database.snapshot() as connection:
            owner = _owner(connection, tenant)
            span = _span(connection, owner, month)
            lines = self._of_usage(connection, owner, span)
            return _bill(owner, month, span, [*lines, *_of_credits(connection, owner)])

    def issue(self, tenant: str, month: str, actor: Actor = OPERATOR) -> Invoice:
        """Freeze a month's bill; the one issued before where there is one.

        Raises NotFound, and InvalidOption before the month is over and its usage written.
        """
        while True:
            # Its usage does not change any more, so it is read while others may write.
            with self._database.snapshot() as connection:
                owner = _owner(connection, tenant)
                earlier = _issued_of(connection, tenant, month)
                if earlier is not None:
                    return earlier
                span = _span(connection, owner, month)
                _check_over(month, span, self._database.now(connection))
                lines = self._of_usage(connection, owner, span)
            with self._database.write() as connection:
                found = locked(connection, tenant)
                same = found.currency == owner.currency
                if same and _span(connection, found, month) == span:
                    return self._issue(connection, found, month, span, lines, actor)

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

    def _issue(
        self,
        connection: Connection,
        owner: Row[Any],
        month: str,
        span: Span,
        of_usage: Sequence[InvoiceLine],
        actor: Actor,
    ) -> Invoice:
        """Write a bill down, with the credits that are open now; the tenant's row is locked."""
        earlier = _issued_of(connection, owner.id, month)
        if earlier is not None:
            return earlier
        now = self._database.now(connection)
        made = _bill(owner, month, span, [*of_usage, *_of_credits(connection, owner)])
        invoice_id = new_id("inv_")
        row = connection.execute(
            insert(invoices)
            .values(
                id=invoice_id,
                tenant=owner.id,
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
            .where(is_open_credit(owner.id, owner.currency))
            .values(settled_by=invoice_id)
        )
        data = {"month": month, "total": str(made.total)}
        record(connection, now, actor, "invoice.issued", owner.id, invoice_id, data)
        return invoice_from(row)

    def _of_usage(
        self, connection: Connection, owner: Row[Any], span: Span
    ) -> Sequence[InvoiceLine]:
        """The positions; each names the jobs of the time in which its price held."""
        lines: list[InvoiceLine] = []
        for since, until in self._costs.prices.periods(owner.currency, *span):
            found = list(self._costs.lines(connection, owner.id, owner.currency, since, until))
            jobs = _job_ids(connection, owner.id, since, until) if found else {}
            lines += (
                InvoiceLine(
                    line.kind,
                    line.unit,
                    _plain(line.quantity),
                    _plain(line.unit_price),
                    _plain(_rounded(line.amount)),
                    tuple(jobs.get((line.kind, UNITS[line.unit][0]), ())),
                )
                for line in found
            )
        return lines


def _owner(connection: Connection, tenant: str) -> Row[Any]:
    row = connection.execute(select(tenants).where(tenants.c.id == tenant)).one_or_none()
    return row if row is not None else no_tenant(tenant)


def _issued_of(connection: Connection, tenant: str, month: str) -> Invoice | None:
    row = connection.execute(
        select(invoices).where(invoices.c.tenant == tenant, invoices.c.month == month)
    ).one_or_none()
    return None if row is None else invoice_from(row)


def _check_over(month: str, span: Span, now: float) -> None:
    _, end = span
    if now < end + SETTLE_SECONDS:
        raise InvalidOption(
            f"{month} cannot be billed yet: its usage is complete an hour after its end.",
            code="month_not_over",
            param="month",
        )


def _bill(owner: Row[Any], month: str, span: Span, lines: Sequence[InvoiceLine]) -> Invoice:
    """One that is not issued."""
    total = sum((Decimal(line.amount) for line in lines), Decimal(0))
    return Invoice("", owner.id, month, owner.currency, lines, total, None, *span)


def _of_credits(connection: Connection, owner: Row[Any]) -> list[InvoiceLine]:
    """Those that no invoice has settled."""
    lines = []
    for row in connection.execute(
        select(credits_table)
        .where(is_open_credit(owner.id, owner.currency))
        .order_by(credits_table.c.id)
    ):
        amount = _plain(-Decimal(row.amount) / MICRO)
        ids = [] if row.job_id is None else [row.job_id]
        lines.append(
            InvoiceLine("credit", f"{row.invoice_id}: {row.reason}", "1", amount, amount, ids)
        )
    return lines


def _job_ids(
    connection: Connection, tenant: str, start: float, end: float
) -> Mapping[tuple[str, str], Sequence[str]]:
    """By kind and quantity, the jobs that have used some of it."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    rows = connection.execute(
        select(usage.c.kind, usage.c.job_id, *(usage.c[name] for name in NAMES))
        .where(
            usage.c.tenant == tenant,
            usage.c.billable,
            usage.c.job_id.is_not(None),
            usage.c.at >= start,
            usage.c.at < end,
        )
        .order_by(usage.c.at, usage.c.job_id)
    )
    for kind, job_id, *amounts in rows:
        for name, amount in zip(NAMES, amounts, strict=True):
            if amount > 0:
                found[kind, name].append(job_id)
    return found


def _span(connection: Connection, owner: Row[Any], month: str) -> Span:
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
