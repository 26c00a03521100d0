"""What is done now and then, by one process at a time.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "chores",
        sa.Column("name", NAME, nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("held_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("chores_pkey")),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("chores")
