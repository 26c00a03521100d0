"""Jobs set aside what they will use of monthly quotas; shards know their compute seconds.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG = sa.Integer().with_variant(sa.BIGINT(), "postgresql")


def upgrade() -> None:
    """Make the columns."""
    for name in ("reserved_characters", "reserved_tokens"):
        op.add_column("jobs", sa.Column(name, BIG, nullable=False, server_default="0"))
    for table, name in (("jobs", "reserved_seconds"), ("batch_shards", "compute_seconds")):
        op.add_column(table, sa.Column(name, sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them again."""
    op.drop_column("batch_shards", "compute_seconds")
    for name in ("reserved_seconds", "reserved_tokens", "reserved_characters"):
        op.drop_column("jobs", name)
