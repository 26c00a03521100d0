"""Uploads in parts.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.Integer().with_variant(sa.BIGINT(), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "uploads",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("mime_type", sa.Text(), nullable=False),
        sa.Column("purpose", NAME, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("expires_in", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("file_id", NAME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("uploads_pkey")),
    )
    op.create_index(
        "uploads_expires",
        "uploads",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "upload_parts",
        sa.Column("id", NAME, nullable=False),
        sa.Column("upload_id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("artifact", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("upload_parts_pkey")),
    )
    op.create_index("upload_parts_upload", "upload_parts", ["upload_id", "id"], unique=False)
    op.create_index("upload_parts_artifact", "upload_parts", ["artifact"], unique=False)


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("upload_parts")
    op.drop_table("uploads")
