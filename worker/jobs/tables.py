"""Tables of the jobs. The tenant is in each of them and in every query of a client.

jobs            the truth about each piece of long work; see states.py for its life
job_events      what happened to a job, numbered from 1 without gaps
job_uses        the files and models a job needs; they cannot be deleted while it lives
checkpoints     checkpoints that were published as models
batch_shards    parts of a batch or a scoring, and their results
fair_clocks, fair_tenants   whose turn it is; see fair_share
idempotency     answers to requests that carried an Idempotency-Key
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    literal_column,
    text,
)

from worker.jobs.states import State
from worker.storage.schema import BIG, DOCUMENT, METADATA, NAME, SEARCHABLE, Line

_QUEUED = text("state = 'queued'")
_RUNNING = text("state = 'running'")
_LIVE = text("state IN ('paused', 'queued', 'running')")  # as `in_state` spells it

jobs = Table(
    "jobs",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("ordinal", NAME, nullable=False),  # the id's sortable part: orders ids of all kinds
    Column("kind", NAME, nullable=False),
    Column("queue", NAME, nullable=False),
    Column("state", NAME, nullable=False),
    Column("phase", NAME, nullable=False),
    Column("phase_times", DOCUMENT, nullable=False),  # of phases that are no state
    Column("spec", DOCUMENT, nullable=False),
    Column("metadata", SEARCHABLE, nullable=False),
    Column("plan", DOCUMENT),
    Column("progress", DOCUMENT, nullable=False),
    Column("result", DOCUMENT),
    Column("error", DOCUMENT),
    Column("token", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("share", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),  # 0: at once
    Column("deadline_at", Double),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("lease_expires_at", Double),
    Column("worker", NAME),
    Column("incarnation", NAME),
    Column("cancel_requested_at", Double),
    Column("pause_requested_at", Double),
    Column("checkpoint", DOCUMENT),
    Column("checkpoint_history", DOCUMENT, nullable=False),
    Column("retry_of", NAME),
    Column("event_count", Integer, nullable=False),
    Column("api_key", NAME),  # the id of the key that asked for it
    Column("request_id", NAME),  # of the HTTP request that made it
    Column("traceparent", NAME),  # its trace, in W3C's form; none: it was not traced
    # Set aside until the job ends: of its tenant's budget, in millionths, and of monthly quotas.
    Column("reserved", BIG, nullable=False, server_default="0"),
    Column("reserved_characters", BIG, nullable=False, server_default="0"),
    Column("reserved_tokens", BIG, nullable=False, server_default="0"),
    Column("reserved_seconds", Double, nullable=False, server_default="0"),
    CheckConstraint(
        "state IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
        name="state_known",
    ),
    # The order of claims; due_at and tenant make the index enough by itself to skip rows that wait.
    Index(
        "jobs_claim",
        "queue",
        text("priority DESC"),
        "share",
        "ordinal",
        "due_at",
        "tenant",
        postgresql_where=_QUEUED,
        sqlite_where=_QUEUED,
    ),
    Index("jobs_leases", "lease_expires_at", postgresql_where=_RUNNING, sqlite_where=_RUNNING),
    Index("jobs_running", "queue", "worker", postgresql_where=_RUNNING, sqlite_where=_RUNNING),
    Index("jobs_running_tenant", "tenant", postgresql_where=_RUNNING, sqlite_where=_RUNNING),
    Index(
        "jobs_paused",
        "queue",
        postgresql_where=text("state = 'paused'"),
        sqlite_where=text("state = 'paused'"),
    ),
    Index(
        "jobs_deadlines",
        "deadline_at",
        postgresql_where=text("deadline_at IS NOT NULL AND state IN ('queued', 'running')"),
        sqlite_where=text("deadline_at IS NOT NULL AND state IN ('queued', 'running')"),
    ),
    # All that a sum of what is set aside needs (SQLite wants the state in it, too).
    Index(
        "jobs_reserved",
        "tenant",
        "state",
        "reserved",
        "reserved_characters",
        "reserved_tokens",
        "reserved_seconds",
        postgresql_where=_LIVE,
        sqlite_where=_LIVE,
    ),
    Index("jobs_list", "tenant", "ordinal"),
    Index("jobs_list_kind", "tenant", "kind", "ordinal"),
    Index("jobs_list_state", "tenant", "state", "ordinal"),
    Index(
        "jobs_finished",
        "queue",
        "finished_at",
        postgresql_where=text("finished_at IS NOT NULL"),
        sqlite_where=text("finished_at IS NOT NULL"),
    ),
)


def _job_id() -> Column[str]:
    return Column("job_id", NAME, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


job_events = Table(
    "job_events",
    METADATA,
    _job_id(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("tenant", NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("level", NAME, nullable=False),
    Column("type", NAME, nullable=False),
    Column("message", Line(), nullable=False),
    Column("data", DOCUMENT, nullable=False),
)

job_uses = Table(
    "job_uses",
    METADATA,
    _job_id(),
    Column("what", NAME, primary_key=True),  # file or model
    Column("used_id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Index("job_uses_used", "tenant", "what", "used_id"),
)

checkpoints = Table(
    "checkpoints",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("job_id", NAME, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("model_id", NAME, nullable=False),
    Column("artifact", NAME, nullable=False),
    Column("metrics", DOCUMENT, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("checkpoints_job", "job_id", "id"),
)

batch_shards = Table(
    "batch_shards",
    METADATA,
    _job_id(),
    Column("shard_index", Integer, primary_key=True, autoincrement=False),
    Column("tenant", NAME, nullable=False),
    Column("state", NAME, nullable=False),  # planned or done
    Column("token", Integer, nullable=False),  # of the claim that finished it
    Column("artifact", NAME),
    Column("lines", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("prompt_tokens", BIG, nullable=False),
    Column("completion_tokens", BIG, nullable=False),
    Column("characters_in", BIG, nullable=False, server_default="0"),
    Column("characters_out", BIG, nullable=False, server_default="0"),
    Column("compute_seconds", Double, nullable=False, server_default="0"),
)

fair_clocks = Table(
    "fair_clocks",
    METADATA,
    Column("queue", NAME, primary_key=True),
    Column("priority", Integer, primary_key=True, autoincrement=False),
    Column("share", Double, nullable=False),
)

fair_tenants = Table(
    "fair_tenants",
    METADATA,
    Column("queue", NAME, primary_key=True),
    Column("priority", Integer, primary_key=True, autoincrement=False),
    Column("tenant", NAME, primary_key=True),
    Column("next_share", Double, nullable=False),
)

idempotency = Table(
    "idempotency",
    METADATA,
    Column("tenant", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("body_sha256", NAME, nullable=False),
    Column("job_id", NAME),
    Column("response", DOCUMENT),  # nothing is stored there any more
    Column("created_at", Double, nullable=False),
    Index("idempotency_created_at", "created_at"),
)


def in_state(*states: State) -> ColumnElement[bool]:
    """Whether a job is in one of these states, spelt out in the statement.

    A partial index serves a query only when the database can see, before it knows the
    parameters, that the query asks for its part.
    """
    spelt: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return jobs.c.state == spelt[0] if len(spelt) == 1 else jobs.c.state.in_(spelt)
