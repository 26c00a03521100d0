"""Running sums of what was used, kept by the database itself; expired sessions are found quickly.

Triggers, so that whoever writes usage keeps the sums, a worker of the version before too, and a
row that was there already is counted no second time.

Revision: 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.Integer().with_variant(sa.BIGINT(), "postgresql")
COUNTS = ("requests", "characters_in", "characters_out", "tokens_in", "tokens_out")
AMOUNTS = (*COUNTS, "compute_seconds", "byte_hours")
COLUMNS = ", ".join(("tenant", "width", "start", "kind", *AMOUNTS))
WIDTHS = (86_400, 900)  # the day first: who has its row may change those within it
SESSIONS = "name = 'browser session'"


def upgrade() -> None:
    """Make the table, its triggers and what it holds of the usage until now."""
    op.create_table(
        "usage_sums",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("width", BIG, nullable=False),
        sa.Column("start", BIG, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        *(sa.Column(name, BIG, nullable=False) for name in COUNTS),
        sa.Column("compute_seconds", sa.Double(), nullable=False),
        sa.Column("byte_hours", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "width", "start", "kind", name=op.f("usage_sums_pkey")),
    )
    # The triggers first: they wait for those who write now, and those who come wait for us.
    for statement in _sqlite() if _is_sqlite() else _postgresql():
        op.execute(statement)
    for width in WIDTHS:
        op.execute(_filled(width))
    op.create_index(
        "api_keys_sessions",
        "api_keys",
        ["expires_at"],
        sqlite_where=sa.text(SESSIONS),
        postgresql_where=sa.text(SESSIONS),
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_index("api_keys_sessions", table_name="api_keys")
    if _is_sqlite():
        for event in ("insert", "update_off", "update_add", "delete"):
            op.execute(f"DROP TRIGGER usage_sums_{event}")
    else:
        op.execute("DROP TRIGGER usage_sums ON usage")
        op.execute("DROP FUNCTION usage_sums()")
    op.drop_table("usage_sums")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _start(at: str, width: int) -> str:
    whole = f"CAST({at} / {width} AS INTEGER)"  # of SQLite, which cuts; times are positive
    return f"({whole if _is_sqlite() else f'floor({at} / {width})::bigint'} * {width})"


def _filled(width: int) -> str:
    start, sums = _start("at", width), ", ".join(f"sum({name})" for name in AMOUNTS)
    return (
        f"INSERT INTO usage_sums ({COLUMNS}) "  # noqa: S608  (of our own names, as all here)
        f"SELECT tenant, {width}, {start}, kind, {sums} FROM usage WHERE billable "
        f"GROUP BY tenant, {start}, kind"
    )


def _add() -> str:
    amounts = ", ".join(f"NEW.{name}" for name in AMOUNTS)
    rows = ", ".join(
        f"(NEW.tenant, {width}, {_start('NEW.at', width)}, NEW.kind, {amounts})" for width in WIDTHS
    )
    sums = ", ".join(f"{name} = usage_sums.{name} + excluded.{name}" for name in AMOUNTS)
    return (
        f"INSERT INTO usage_sums ({COLUMNS}) VALUES {rows} "  # noqa: S608
        f"ON CONFLICT (tenant, width, start, kind) DO UPDATE SET {sums};"
    )


def _take_off() -> str:
    sums = ", ".join(f"{name} = {name} - OLD.{name}" for name in AMOUNTS)
    return " ".join(
        f"UPDATE usage_sums SET {sums} WHERE tenant = OLD.tenant AND width = {width} "  # noqa: S608
        f"AND start = {_start('OLD.at', width)} AND kind = OLD.kind;"
        for width in WIDTHS
    )


def _sqlite() -> list[str]:
    """A correction takes off what was there and adds what is there now."""
    add, off = f"WHEN NEW.billable BEGIN {_add()} END", f"WHEN OLD.billable BEGIN {_take_off()} END"
    return [
        f"CREATE TRIGGER usage_sums_insert AFTER INSERT ON usage {add}",
        f"CREATE TRIGGER usage_sums_update_off AFTER UPDATE ON usage {off}",
        f"CREATE TRIGGER usage_sums_update_add AFTER UPDATE ON usage {add}",
        f"CREATE TRIGGER usage_sums_delete AFTER DELETE ON usage {off}",
    ]


def _postgresql() -> list[str]:
    return [
        f"""CREATE FUNCTION usage_sums() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP <> 'INSERT' THEN IF OLD.billable THEN {_take_off()} END IF; END IF;
            IF TG_OP <> 'DELETE' THEN IF NEW.billable THEN {_add()} END IF; END IF;
            RETURN NULL;
        END $$""",
        """CREATE TRIGGER usage_sums AFTER INSERT OR UPDATE OR DELETE ON usage
        FOR EACH ROW EXECUTE FUNCTION usage_sums()""",
    ]
