"""Tenants have rows of their own, and changes are written down.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.Integer().with_variant(sa.BIGINT(), "postgresql")
DOCUMENT = sa.JSON(none_as_null=True)
# Whoever has anything is a tenant from now on.
OWNING = ("api_keys", "files", "jobs")
TENANTS = sa.table(
    "tenants",
    *map(
        sa.column,
        ("id", "name", "status", "weight", "currency", "time_zone", "options", "created_at"),
    ),
)
NOW = {
    "sqlite": "CAST(strftime('%s', 'now') AS REAL)",
    "postgresql": "extract(epoch FROM clock_timestamp())::double precision",
}
CLAIM: tuple[str | sa.TextClause, ...] = (
    "queue",
    sa.text("priority DESC"),
    "share",
    "ordinal",
    "due_at",
)


def upgrade() -> None:
    """Make the tables, and a tenant for everyone who has something already."""
    op.create_table(
        "tenants",
        sa.Column("id", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("plan", NAME, nullable=True),
        sa.Column("currency", NAME, nullable=False),
        sa.Column("time_zone", NAME, nullable=False),
        sa.Column("monthly_budget", BIG, nullable=True),
        sa.Column("max_running_jobs", sa.Integer(), nullable=True),
        sa.Column("options", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("suspended_at", sa.Double(), nullable=True),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("tenants_status_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("tenants_pkey")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("actor_tenant", NAME, nullable=True),
        sa.Column("actor_key", NAME, nullable=True),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    op.create_index("audit_log_tenant", "audit_log", ["tenant", "id"], unique=False)
    dialect = op.get_bind().dialect.name
    owners = sa.union(
        *(sa.select(sa.column("tenant")).select_from(sa.table(name)) for name in OWNING),
        sa.select(sa.literal("default")),
    ).subquery()
    op.execute(
        sa.insert(TENANTS).from_select(
            list(TENANTS.c.keys()),
            sa.select(
                owners.c.tenant,
                owners.c.tenant,
                sa.literal("active"),
                sa.literal(1.0),
                sa.literal("USD"),
                sa.literal("UTC"),
                sa.cast(sa.literal("{}", sa.Text()), sa.JSON())
                if dialect == "postgresql"
                else sa.literal("{}"),
                sa.literal_column(NOW[dialect]),
            ),
        )
    )
    # A claim passes over the jobs of tenants that may start none; the index tells whose they are.
    op.drop_index("jobs_claim", table_name="jobs")
    _index_claims([*CLAIM, "tenant"])
    op.create_index(
        "jobs_running_tenant",
        "jobs",
        ["tenant"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    for statement in APPEND_ONLY[dialect]:
        op.execute(statement)


APPEND_ONLY = {
    "sqlite": (
        """CREATE TRIGGER audit_log_kept BEFORE UPDATE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END""",
        """CREATE TRIGGER audit_log_whole BEFORE DELETE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END""",
    ),
    "postgresql": (
        """CREATE FUNCTION audit_log_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit log is never changed' USING ERRCODE = '23514';
        END $$""",
        """CREATE TRIGGER audit_log_guard BEFORE UPDATE OR DELETE ON audit_log
        FOR EACH ROW EXECUTE FUNCTION audit_log_guard()""",
    ),
}


def _index_claims(columns: list[str | sa.TextClause]) -> None:
    op.create_index(
        "jobs_claim",
        "jobs",
        columns,
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
        sqlite_where=sa.text("state = 'queued'"),
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("audit_log")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_log_guard()")
    op.drop_index("jobs_running_tenant", table_name="jobs")
    op.drop_index("jobs_claim", table_name="jobs")
    _index_claims(list(CLAIM))
    op.drop_table("tenants")
