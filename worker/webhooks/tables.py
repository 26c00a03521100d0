"""Tables of webhooks.

webhook_endpoints    where a tenant wants to hear of what
webhook_deliveries   the outbox, and afterwards the log: one row for each event and endpoint
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double, Index, Integer, Table, text

from worker.storage.schema import DOCUMENT, METADATA, NAME, Line

_PENDING = text("state = 'pending'")

webhook_endpoints = Table(
    "webhook_endpoints",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("name", Line(), nullable=False),
    Column("url", NAME, nullable=False),
    Column("event_types", DOCUMENT, nullable=False),
    Column("secret", NAME, nullable=False),  # whole: signatures are made with it
    Column("old_secret", NAME),
    Column("old_secret_until", Double),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("webhook_endpoints_list", "tenant", "id"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("endpoint_id", NAME, nullable=False),
    Column("event_id", NAME, nullable=False),
    Column("event_type", NAME, nullable=False),
    Column("body", NAME, nullable=False),  # the very characters that are signed and sent
    Column("state", NAME, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("held_until", Double, nullable=False),  # somebody is sending it; 0: nobody
    Column("last_status", Integer),
    Column("last_error", Line()),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state_known"),
    Index(
        "webhook_deliveries_due",
        "due_at",
        postgresql_where=_PENDING,
        sqlite_where=_PENDING,
    ),
    Index("webhook_deliveries_log", "tenant", "endpoint_id", "id"),
    Index("webhook_deliveries_ended", "ended_at"),
)
