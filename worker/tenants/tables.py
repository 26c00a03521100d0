"""Tables of the tenants themselves and of what was done to them.

tenants      one row for each; OpenAI's word for them is project
audit_log    who changed what, and when; rows are only ever added
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double, Index, Integer, Table

from worker.storage.schema import BIG, DOCUMENT, METADATA, NAME, Line

tenants = Table(
    "tenants",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("name", Line(), nullable=False),
    Column("status", NAME, nullable=False),
    Column("weight", Double, nullable=False),
    Column("plan", NAME),
    Column("currency", NAME, nullable=False),
    Column("time_zone", NAME, nullable=False),
    Column("monthly_budget", BIG),  # in millionths of the currency's unit; none: no bound
    Column("max_running_jobs", Integer),  # of the plan or its own; looked at by every claim
    Column("options", DOCUMENT, nullable=False),  # limits of its own, label, blocked words
    Column("created_at", Double, nullable=False),
    Column("suspended_at", Double),
    CheckConstraint("status IN ('active', 'suspended')", name="status_known"),
)

audit_log = Table(
    "audit_log",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),  # to whom it was done
    Column("type", NAME, nullable=False),
    Column("actor_tenant", NAME),
    Column("actor_key", NAME),  # the id of an API key; none: the command line on the database
    Column("subject", NAME, nullable=False),  # the id of what was changed
    Column("data", DOCUMENT, nullable=False),  # never a prompt, a text or a key
    Column("created_at", Double, nullable=False),
    Index("audit_log_tenant", "tenant", "id"),
)
