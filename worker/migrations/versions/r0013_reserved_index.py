"""What is set aside for unfinished jobs is summed up from an index alone.

Revision: 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

LIVE = sa.text("state IN ('paused', 'queued', 'running')")
AMOUNTS = ("reserved", "reserved_characters", "reserved_tokens", "reserved_seconds")


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "jobs_reserved",
        "jobs",
        ["tenant", "state", *AMOUNTS],
        postgresql_where=LIVE,
        sqlite_where=LIVE,
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_index("jobs_reserved", table_name="jobs")
