"""A browser's session knows the key that it stands for, and ends with it.

Sessions that are open are forgotten: whose they are is not known. Their browsers sign in again.

Revision: 0017, after 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WAS_SESSION = sa.text("name = 'browser session'")
IS_SESSION = sa.text("owner IS NOT NULL")
FORGET = "DELETE FROM api_keys WHERE "


def upgrade() -> None:
    """Add the column and the ways to find sessions by it."""
    op.execute(f"{FORGET} {WAS_SESSION}")
    op.add_column("api_keys", sa.Column("owner", NAME, nullable=True))
    op.drop_index("api_keys_sessions", table_name="api_keys")
    for name, column in (("api_keys_sessions", "expires_at"), ("api_keys_owner", "owner")):
        op.create_index(
            name, "api_keys", [column], postgresql_where=IS_SESSION, sqlite_where=IS_SESSION
        )


def downgrade() -> None:
    """As it was; open sessions are forgotten too."""
    op.execute(f"{FORGET} {IS_SESSION}")
    for name in ("api_keys_owner", "api_keys_sessions"):
        op.drop_index(name, table_name="api_keys")
    op.drop_column("api_keys", "owner")
    op.create_index(
        "api_keys_sessions",
        "api_keys",
        ["expires_at"],
        postgresql_where=WAS_SESSION,
        sqlite_where=WAS_SESSION,
    )
