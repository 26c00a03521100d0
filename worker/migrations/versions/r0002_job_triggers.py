"""The database itself refuses to touch finished jobs, and moves between states that are no move.

Revision: 0002, after 0001.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FINISHED = "OLD.state IN ('succeeded', 'failed', 'cancelled')"
# Written out, not made from worker.jobs.states: a revision stays what it was.
ILLEGAL = """NEW.state <> OLD.state AND NOT (
    (OLD.state = 'queued' AND NEW.state IN ('running', 'cancelled', 'failed'))
    OR (OLD.state = 'running'
        AND NEW.state IN ('succeeded', 'failed', 'cancelled', 'paused', 'queued'))
    OR (OLD.state = 'paused' AND NEW.state IN ('queued', 'cancelled')))"""

SQLITE = (
    f"""CREATE TRIGGER jobs_finished_rows BEFORE UPDATE ON jobs WHEN {FINISHED}
    BEGIN SELECT RAISE(ABORT, 'a finished job is never updated'); END""",
    f"""CREATE TRIGGER jobs_legal_moves BEFORE UPDATE OF state ON jobs WHEN {ILLEGAL}
    BEGIN SELECT RAISE(ABORT, 'this move between job states is not legal'); END""",
)
POSTGRESQL = (
    f"""CREATE FUNCTION jobs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF {FINISHED} THEN
            RAISE EXCEPTION 'a finished job is never updated' USING ERRCODE = '23514';
        END IF;
        IF {ILLEGAL} THEN
            RAISE EXCEPTION 'this move between job states is not legal' USING ERRCODE = '23514';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER jobs_guard BEFORE UPDATE ON jobs
    FOR EACH ROW EXECUTE FUNCTION jobs_guard()""",
)


def upgrade() -> None:
    """Make the triggers."""
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER jobs_legal_moves")
        op.execute("DROP TRIGGER jobs_finished_rows")
    else:
        op.execute("DROP TRIGGER jobs_guard ON jobs")
        op.execute("DROP FUNCTION jobs_guard()")
