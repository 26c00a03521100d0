"""A file is found by what it holds, so that nobody has to store the same one twice.

Revision: 0014, after 0013.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("files_content", "files", ["tenant", "sha256", "id"])


def downgrade() -> None:
    """Drop it again."""
    op.drop_index("files_content", table_name="files")
