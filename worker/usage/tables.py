"""The tables of what was used.

usage        one row for each finished job, for each second and model of interactive requests, and
             for each hour of stored bytes. A row is written once, under a name that makes a second
             writing of the same impossible.
usage_sums   what is billed of it, by tenant and kind, in each day and each quarter of an hour
             (UTC). Triggers of the database keep it, in the transaction of whatever changes usage;
             nothing else writes to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Boolean, Column, Double, Index, Table, text

from worker.storage.schema import BIG, METADATA, NAME


def _quantities() -> Iterator[Column[Any]]:
    """What was used, in the columns of both tables."""
    for name in ("requests", "characters_in", "characters_out", "tokens_in", "tokens_out"):
        yield Column(name, BIG, nullable=False)
    for name in ("compute_seconds", "byte_hours"):
        yield Column(name, Double, nullable=False)


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
    *_quantities(),
    Index("usage_tenant", "tenant", "at", "id"),
    Index("usage_at", "at", "id"),
    Index(  # what invoices name
        "usage_jobs",
        "tenant",
        "at",
        "job_id",
        postgresql_where=text("job_id IS NOT NULL"),
        sqlite_where=text("job_id IS NOT NULL"),
    ),
)

usage_sums = Table(
    "usage_sums",
    METADATA,
    Column("tenant", NAME, primary_key=True),
    Column("width", BIG, primary_key=True),  # of the span in seconds
    Column("start", BIG, primary_key=True),  # its first second, a multiple of the width
    Column("kind", NAME, primary_key=True),
    *_quantities(),
)
usage_sums.add_is_dependent_on(usage)  # who empties both begins here, so the triggers have no work
