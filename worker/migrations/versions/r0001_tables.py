"""The first version of the tables.

Revision: 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Spelt out here, not imported: a revision stays what it was when the tables move on.
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.Integer().with_variant(sa.BIGINT(), "postgresql")
DOCUMENT = sa.JSON(none_as_null=True)
SEARCHABLE = sa.JSON(none_as_null=True).with_variant(
    postgresql.JSONB(none_as_null=True), "postgresql"
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "aliases",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("model_id", NAME, nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("aliases_pkey")),
    )
    op.create_index("aliases_model", "aliases", ["tenant", "model_id"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scopes", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_index("api_keys_list", "api_keys", ["tenant", "id"], unique=False)
    op.create_table(
        "fair_clocks",
        sa.Column("queue", NAME, nullable=False),
        sa.Column("priority", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "priority", name=op.f("fair_clocks_pkey")),
    )
    op.create_table(
        "fair_tenants",
        sa.Column("queue", NAME, nullable=False),
        sa.Column("priority", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("next_share", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "priority", "tenant", name=op.f("fair_tenants_pkey")),
    )
    op.create_table(
        "files",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", NAME, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("artifact", NAME, nullable=False),
        sa.Column("file", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("files_pkey")),
    )
    op.create_index("files_artifact", "files", ["artifact"], unique=False)
    op.create_index(
        "files_expires",
        "files",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
        sqlite_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index("files_list", "files", ["tenant", "id"], unique=False)
    op.create_index("files_list_purpose", "files", ["tenant", "purpose", "id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("body_sha256", NAME, nullable=False),
        sa.Column("job_id", NAME, nullable=True),
        sa.Column("response", DOCUMENT, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("idempotency_pkey")),
    )
    op.create_index("idempotency_created_at", "idempotency", ["created_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("ordinal", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("phase", NAME, nullable=False),
        sa.Column("phase_times", DOCUMENT, nullable=False),
        sa.Column("spec", DOCUMENT, nullable=False),
        sa.Column("metadata", SEARCHABLE, nullable=False),
        sa.Column("plan", DOCUMENT, nullable=True),
        sa.Column("progress", DOCUMENT, nullable=False),
        sa.Column("result", DOCUMENT, nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("deadline_at", sa.Double(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("lease_expires_at", sa.Double(), nullable=True),
        sa.Column("worker", NAME, nullable=True),
        sa.Column("incarnation", NAME, nullable=True),
        sa.Column("cancel_requested_at", sa.Double(), nullable=True),
        sa.Column("pause_requested_at", sa.Double(), nullable=True),
        sa.Column("checkpoint", DOCUMENT, nullable=True),
        sa.Column("checkpoint_history", DOCUMENT, nullable=False),
        sa.Column("retry_of", NAME, nullable=True),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
            name=op.f("jobs_state_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
    )
    op.create_index(
        "jobs_claim",
        "jobs",
        ["queue", sa.text("priority DESC"), "share", "ordinal", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
        sqlite_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "jobs_deadlines",
        "jobs",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("deadline_at IS NOT NULL AND state IN ('queued', 'running')"),
        sqlite_where=sa.text("deadline_at IS NOT NULL AND state IN ('queued', 'running')"),
    )
    op.create_index(
        "jobs_finished",
        "jobs",
        ["queue", "finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "jobs_leases",
        "jobs",
        ["lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_index("jobs_list", "jobs", ["tenant", "ordinal"], unique=False)
    op.create_index("jobs_list_kind", "jobs", ["tenant", "kind", "ordinal"], unique=False)
    op.create_index("jobs_list_state", "jobs", ["tenant", "state", "ordinal"], unique=False)
    op.create_index(
        "jobs_paused",
        "jobs",
        ["queue"],
        unique=False,
        postgresql_where=sa.text("state = 'paused'"),
        sqlite_where=sa.text("state = 'paused'"),
    )
    op.create_index(
        "jobs_running",
        "jobs",
        ["queue", "worker"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "models",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("base", NAME, nullable=True),
        sa.Column("owned_by", NAME, nullable=False),
        sa.Column("job_id", NAME, nullable=True),
        sa.Column("artifact", NAME, nullable=False),
        sa.Column("file", NAME, nullable=False),
        sa.Column("header", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("models_pkey")),
    )
    op.create_index("models_artifact", "models", ["artifact"], unique=False)
    op.create_index("models_created", "models", ["tenant", "created_at", "id"], unique=False)
    op.create_table(
        "signin_links",
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("secret_sha256", name=op.f("signin_links_pkey")),
    )
    op.create_index("signin_links_expires", "signin_links", ["expires_at"], unique=False)
    op.create_table(
        "workers",
        sa.Column("name", NAME, nullable=False),
        sa.Column("incarnation", NAME, nullable=False),
        sa.Column("role", NAME, nullable=False),
        sa.Column("queue", NAME, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "queue", name=op.f("workers_pkey")),
    )
    op.create_table(
        "batch_shards",
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("shard_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("artifact", NAME, nullable=True),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", BIG, nullable=False),
        sa.Column("completion_tokens", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("batch_shards_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "shard_index", name=op.f("batch_shards_pkey")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("model_id", NAME, nullable=False),
        sa.Column("artifact", NAME, nullable=False),
        sa.Column("metrics", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("checkpoints_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("checkpoints_pkey")),
    )
    op.create_index("checkpoints_job", "checkpoints", ["job_id", "id"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("level", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("job_events_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "id", name=op.f("job_events_pkey")),
    )
    op.create_table(
        "job_uses",
        sa.Column("job_id", NAME, nullable=False),
        sa.Column("what", NAME, nullable=False),
        sa.Column("used_id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("job_uses_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "what", "used_id", name=op.f("job_uses_pkey")),
    )
    op.create_index("job_uses_used", "job_uses", ["tenant", "what", "used_id"], unique=False)


def downgrade() -> None:
    """Drop them all."""
    for table in (
        "aliases",
        "api_keys",
        "fair_clocks",
        "fair_tenants",
        "files",
        "idempotency",
        "models",
        "signin_links",
        "workers",
        "batch_shards",
        "checkpoints",
        "job_events",
        "job_uses",
        "jobs",
    ):
        op.drop_table(table)
