"""How much waits in the outbox of webhooks."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, literal_column, select

from worker.storage.database import Database
from worker.webhooks.tables import webhook_deliveries


@dataclass(frozen=True, slots=True)
class Outbox:
    """Deliveries that have not ended, and for how many seconds the oldest of them has been due."""

    pending: int
    oldest_due_age: float


def look_at_outbox(database: Database) -> Outbox:
    """Of all tenants; raises DatabaseUnavailable."""
    found = webhook_deliveries.c
    pending = found.state == literal_column("'pending'")  # spelt out, for the partial index
    with database.read() as connection:
        now = database.now(connection)
        count = connection.execute(select(func.count()).where(pending)).scalar_one()
        oldest = connection.execute(
            select(func.min(found.due_at)).where(pending, found.held_until <= now)
        ).scalar_one()
    return Outbox(int(count), 0.0 if oldest is None else max(0.0, now - float(oldest)))
