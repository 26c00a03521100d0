"""Usage is read in the order of time along indexes, and the models of a job are found by one.

Revision: 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

OF_JOBS = sa.text("job_id IS NOT NULL")


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("usage_at", "usage", ["at", "id"])
    # The one of a tenant's rows ends with the id, too, so that nothing speaks for the other.
    op.drop_index("usage_tenant", table_name="usage")
    op.create_index("usage_tenant", "usage", ["tenant", "at", "id"])
    op.create_index(
        "usage_jobs",
        "usage",
        ["tenant", "at", "job_id"],
        postgresql_where=OF_JOBS,
        sqlite_where=OF_JOBS,
    )
    op.create_index("models_job", "models", ["tenant", "job_id"])


def downgrade() -> None:
    """Put back those that were there."""
    op.drop_index("models_job", table_name="models")
    op.drop_index("usage_jobs", table_name="usage")
    op.drop_index("usage_tenant", table_name="usage")
    op.create_index("usage_tenant", "usage", ["tenant", "at"])
    op.drop_index("usage_at", table_name="usage")
