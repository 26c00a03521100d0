"""Jobs know the trace of the request that made them.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the column."""
    op.add_column("jobs", sa.Column("traceparent", NAME))


def downgrade() -> None:
    """Drop it again."""
    op.drop_column("jobs", "traceparent")
