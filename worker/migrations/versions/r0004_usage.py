"""What was used is written down; jobs remember who asked and what was set aside for them.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.Integer().with_variant(sa.BIGINT(), "postgresql")
COUNTS = ("requests", "characters_in", "characters_out", "tokens_in", "tokens_out")


def upgrade() -> None:
    """Make the table and the columns."""
    op.create_table(
        "usage",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("model", NAME, nullable=True),
        sa.Column("api_key", NAME, nullable=True),
        sa.Column("job_id", NAME, nullable=True),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("billable", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        *(sa.Column(name, BIG, nullable=False) for name in COUNTS),
        sa.Column("compute_seconds", sa.Double(), nullable=False),
        sa.Column("byte_hours", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("usage_pkey")),
    )
    op.create_index("usage_tenant", "usage", ["tenant", "at"], unique=False)
    op.add_column("jobs", sa.Column("api_key", NAME, nullable=True))
    op.add_column("jobs", sa.Column("request_id", NAME, nullable=True))
    op.add_column("jobs", sa.Column("reserved", BIG, nullable=False, server_default="0"))
    for name in ("characters_in", "characters_out"):
        op.add_column("batch_shards", sa.Column(name, BIG, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them again."""
    for name in ("characters_out", "characters_in"):
        op.drop_column("batch_shards", name)
    for name in ("reserved", "request_id", "api_key"):
        op.drop_column("jobs", name)
    op.drop_index("usage_tenant", table_name="usage")
    op.drop_table("usage")
