"""Tables of bills.

invoices   one a tenant and month; the database refuses to change one
credits    what is given back, in the currency of the invoice that it corrects; on the next one of
           that currency as a negative line
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Table

from worker.storage.schema import BIG, DOCUMENT, METADATA, NAME, Line

invoices = Table(
    "invoices",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("month", NAME, nullable=False),
    Column("currency", NAME, nullable=False),
    Column("lines", DOCUMENT, nullable=False),
    Column("total", BIG, nullable=False),  # in millionths of the currency's unit
    Column("issued_at", Double, nullable=False),
    Column("starts_at", Double),  # what is billed; none: the month of the tenant's calendar
    Column("ends_at", Double),
    Index("invoices_month", "tenant", "month", unique=True),
)

credits_table = Table(
    "credits",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("invoice_id", NAME, nullable=False),  # that it corrects
    Column("job_id", NAME),
    Column("amount", BIG, nullable=False),  # given back, in millionths
    Column("reason", Line(), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("settled_by", NAME),  # the invoice that it is a line of
    Index("credits_tenant", "tenant", "id"),
)
