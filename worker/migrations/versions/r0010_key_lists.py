"""Keys are listed by the time they were made, page by page.

Revision: 0010, after 0009.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("api_keys_created", "api_keys", ["tenant", "created_at", "id"])


def downgrade() -> None:
    """Drop it again."""
    op.drop_index("api_keys_created", "api_keys")
