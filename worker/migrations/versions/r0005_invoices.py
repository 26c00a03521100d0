"""Invoices and what corrects them.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.Integer().with_variant(sa.BIGINT(), "postgresql")
DOCUMENT = sa.JSON(none_as_null=True)
FROZEN = {
    "sqlite": (
        """CREATE TRIGGER invoices_frozen BEFORE UPDATE ON invoices
        BEGIN SELECT RAISE(ABORT, 'an invoice is never changed'); END""",
    ),
    "postgresql": (
        """CREATE FUNCTION invoices_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'an invoice is never changed' USING ERRCODE = '23514';
        END $$""",
        """CREATE TRIGGER invoices_guard BEFORE UPDATE ON invoices
        FOR EACH ROW EXECUTE FUNCTION invoices_guard()""",
    ),
}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "invoices",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("month", NAME, nullable=False),
        sa.Column("currency", NAME, nullable=False),
        sa.Column("lines", DOCUMENT, nullable=False),
        sa.Column("total", BIG, nullable=False),
        sa.Column("issued_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("invoices_pkey")),
    )
    op.create_index("invoices_month", "invoices", ["tenant", "month"], unique=True)
    op.create_table(
        "credits",
        sa.Column("id", NAME, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("invoice_id", NAME, nullable=False),
        sa.Column("job_id", NAME, nullable=True),
        sa.Column("amount", BIG, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("settled_by", NAME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("credits_pkey")),
    )
    op.create_index("credits_tenant", "credits", ["tenant", "id"], unique=False)
    for statement in FROZEN[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("credits")
    op.drop_table("invoices")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION invoices_guard()")
