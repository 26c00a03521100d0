"""Whether the currency of a tenant may be changed: amounts do not say which one they are in.

Credits are in that of the invoice that they correct; what is set aside for jobs is in that of their
tenant. So neither may be open when it changes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.engine import Connection, Row

from worker.billing.tables import credits_table, invoices
from worker.errors import Conflict
from worker.jobs.set_aside import set_aside
from worker.tenants.options import MICRO


def check_change(connection: Connection, owner: Row[Any], currency: str) -> None:
    """Raise Conflict where a tenant, whose row is locked, has amounts that are open."""
    old = owner.currency
    if currency == old:
        return
    given = connection.execute(
        select(func.coalesce(func.sum(credits_table.c.amount), 0)).where(
            is_open_credit(owner.id, old)
        )
    ).scalar_one()
    if given:
        raise Conflict(
            f"'currency' cannot become {currency}: credits of {Decimal(int(given)) / MICRO:.2f} "
            f"{old} are on no issued invoice yet. Issue the next invoice, then change it.",
            code="currency_in_use",
            param="currency",
        )
    reserved = set_aside(connection, owner.id).money
    if reserved:
        raise Conflict(
            f"'currency' cannot become {currency}: {Decimal(reserved) / MICRO:.2f} {old} are set "
            "aside for jobs that are not finished. Wait for their end or cancel them, then change "
            "it.",
            code="currency_in_use",
            param="currency",
        )


def is_open_credit(tenant: str, currency: str) -> ColumnElement[bool]:
    """Whether a row of credits waits for an invoice of this tenant and currency."""
    corrected = exists().where(
        invoices.c.tenant == tenant,
        invoices.c.id == credits_table.c.invoice_id,
        invoices.c.currency == currency,
    )
    return and_(credits_table.c.tenant == tenant, credits_table.c.settled_by.is_(None), corrected)
