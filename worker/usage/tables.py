"""The table of what was used.

usage   one row for each finished job, for each second and model of interactive requests, and for
        each hour of stored bytes. A row is written once, under a name that makes a second writing
        of the same impossible.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, Table

from worker.storage.schema import BIG, METADATA, NAME

usage = Table(
    "usage",
    METADATA,
    Column("id", NAME, primary_key=True),  # a job's id, or what else makes the row unique
    Column("tenant", NAME, nullable=False),
    Column("kind", NAME, nullable=False),
    Column("model", NAME),
    Column("api_key", NAME),
    Column("job_id", NAME),
    Column("outcome", NAME, nullable=False),  # succeeded, failed or cancelled
    Column("billable", Boolean, nullable=False),
    Column("at", Double, nullable=False),
    Column("requests", BIG, nullable=False),
    Column("characters_in", BIG, nullable=False),
    Column("characters_out", BIG, nullable=False),
    Column("tokens_in", BIG, nullable=False),
    Column("tokens_out", BIG, nullable=False),
    Column("compute_seconds", Double, nullable=False),
    Column("byte_hours", Double, nullable=False),
    Index("usage_tenant", "tenant", "at"),
)
