"""Invoices say from when to when they bill, so that the next one begins where the last one ended.

Those that are there are taken to bill their month as their tenant's calendar has it now.

Revision: 0016, after 0015.
"""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
COLUMNS = ("starts_at", "ends_at")
ROWS = """SELECT invoices.id, invoices.month, tenants.time_zone
    FROM invoices JOIN tenants ON tenants.id = invoices.tenant"""
FILL = "UPDATE invoices SET starts_at = :starts_at, ends_at = :ends_at WHERE id = :id"
THAW = {
    "sqlite": "DROP TRIGGER invoices_frozen",
    "postgresql": "ALTER TABLE invoices DISABLE TRIGGER invoices_guard",
}
FREEZE = {
    "sqlite": """CREATE TRIGGER invoices_frozen BEFORE UPDATE ON invoices
        BEGIN SELECT RAISE(ABORT, 'an invoice is never changed'); END""",
    "postgresql": "ALTER TABLE invoices ENABLE TRIGGER invoices_guard",
}


def upgrade() -> None:
    """Make the columns and fill them."""
    for name in COLUMNS:
        op.add_column("invoices", sa.Column(name, sa.Double(), nullable=True))
    connection = op.get_bind()
    op.execute(THAW[connection.dialect.name])
    for invoice_id, month, time_zone in connection.execute(sa.text(ROWS)).all():
        span = _span(month, time_zone)
        if span is not None:
            connection.execute(
                sa.text(FILL), {"id": invoice_id, **dict(zip(COLUMNS, span, strict=True))}
            )
    op.execute(FREEZE[connection.dialect.name])


def downgrade() -> None:
    """Drop them again."""
    for name in reversed(COLUMNS):
        op.drop_column("invoices", name)


def _span(month: str, time_zone: str) -> tuple[float, float] | None:
    form = MONTH.fullmatch(month)
    if form is None:
        return None
    try:
        zone = ZoneInfo(time_zone)
    except (ValueError, OSError, KeyError):  # of a machine that knew more of them
        return None
    year, number = int(form[1]), int(form[2])
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    return (
        datetime(year, number, 1, tzinfo=zone).timestamp(),
        datetime(*after, 1, tzinfo=zone).timestamp(),
    )
