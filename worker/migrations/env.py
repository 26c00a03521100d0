"""Alembic's entry: runs the revisions on the connection, and in the transaction, it is given."""

from __future__ import annotations

from alembic import context

from worker.all_tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
