"""Sends what is in the outbox, again and again over three days, each at least once.

A delivery is held for a minute, longer than it can take, by whoever sends it. Should that one
die, the hold runs out and another sends it again: a receiver may get an event twice (its
``webhook-id`` is the same) and never not at all. Of one endpoint one delivery is under way at a
time, so a slow receiver holds up nobody but itself.
"""

from __future__ import annotations

import logging
import random
import threading

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Connection

from worker.errors import DatabaseUnavailable, DiskFull
from worker.storage.database import Database
from worker.webhooks.destinations import ForbiddenDestination, UnreachableDestination
from worker.webhooks.endpoints import Delivery, Endpoint, delivery_from, endpoint_from
from worker.webhooks.sender import Sender
from worker.webhooks.signing import signed_headers
from worker.webhooks.tables import webhook_deliveries, webhook_endpoints

LOG = logging.getLogger(__name__)

FIRST_DELAY = 5.0
FACTOR = 3.0
LONGEST_DELAY = 12 * 3600.0
JITTER = 0.2
GIVE_UP_SECONDS = 3 * 86_400.0
KEEP_SECONDS = 30 * 86_400.0
IDLE_SECONDS = 1.0
THREADS = 4
LET_GO_SECONDS = 3.0  # so long may a process' end wait for what is being sent


class Deliverer:
    """Several threads that send; any number of processes may have one."""

    def __init__(self, database: Database, sender: Sender, *, hold_seconds: float) -> None:
        self._database = database
        self._sender = sender
        self._hold = hold_seconds

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop."""
        threads = [
            # Not waited for at a process' end: what is not noted is sent again.
            threading.Thread(
                target=self._loop, args=(stop,), name=f"webhooks-{number}", daemon=True
            )
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def deliver_one(self) -> bool:
        """Send the delivery that is due longest; False when none is due."""
        claimed = self._claim()
        if claimed is None:
            return False
        endpoint, delivery, now = claimed
        body = delivery.body.encode()
        headers = signed_headers(delivery.event_id, int(now), body, endpoint.secrets(now))
        try:
            status: int | None = self._sender.post(endpoint.url, headers, body)
            error = None if status is not None and 200 <= status < 300 else f"status {status}"
        except (ForbiddenDestination, UnreachableDestination) as problem:
            status, error = None, problem.message
        self._note(delivery, status, error)
        return True

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                worked = self.deliver_one()
            except (DatabaseUnavailable, DiskFull) as error:
                LOG.warning("%s", error.message)
                worked = False
            except Exception:
                LOG.exception("a delivery failed in a way that nobody foresaw; it is tried again")
                worked = False
            if not worked:
                stop.wait(IDLE_SECONDS)

    def _claim(self) -> tuple[Endpoint, Delivery, float] | None:
        found = webhook_deliveries.c
        with self._database.write() as connection:
            now = self._database.now(connection)
            under_way = select(found.endpoint_id).where(
                found.state == "pending", found.held_until > now
            )
            row = connection.execute(
                select(webhook_deliveries)
                .where(
                    found.state == "pending",
                    found.due_at <= now,
                    found.held_until <= now,
                    found.endpoint_id.not_in(under_way),
                )
                .order_by(found.due_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None:
                return None
            held = connection.execute(
                update(webhook_deliveries)
                .where(found.id == row.id)
                .values(held_until=now + self._hold, attempts=found.attempts + 1)
                .returning(*found)
            ).one()
            endpoint = connection.execute(
                select(webhook_endpoints).where(webhook_endpoints.c.id == row.endpoint_id)
            ).one_or_none()
            if endpoint is None:  # deleted a moment ago
                connection.execute(delete(webhook_deliveries).where(found.id == row.id))
                return None
        return endpoint_from(endpoint), delivery_from(held), now

    def _note(self, delivery: Delivery, status: int | None, error: str | None) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            values: dict[str, object] = {
                "held_until": 0.0,
                "last_status": status,
                "last_error": error,
            }
            if error is None:
                values |= {"state": "delivered", "ended_at": now}
            else:
                due = now + delay_after(delivery.attempts)
                if due > delivery.created_at + GIVE_UP_SECONDS:
                    values |= {"state": "failed", "ended_at": now}
                else:
                    values["due_at"] = due
            self._write(connection, delivery, values)
        if error is not None:
            LOG.info("%s: attempt %d: %s", delivery.id, delivery.attempts, error)

    def _write(self, connection: Connection, delivery: Delivery, values: dict[str, object]) -> None:
        """Only what this attempt holds: a later one may have taken over."""
        found = webhook_deliveries.c
        connection.execute(
            update(webhook_deliveries)
            .where(
                found.id == delivery.id,
                found.state == "pending",
                found.attempts == delivery.attempts,
            )
            .values(**values)
        )


def forget_old(database: Database) -> int:
    """Drop the log of what ended a month ago; returns how many."""
    with database.write() as connection:
        limit = database.now(connection) - KEEP_SECONDS
        return connection.execute(
            delete(webhook_deliveries).where(webhook_deliveries.c.ended_at < limit)
        ).rowcount


def delay_after(attempts: int) -> float:
    """Seconds until the next attempt: 5 s, tripling, at most 12 h, and up to a fifth off."""
    delay = min(LONGEST_DELAY, FIRST_DELAY * FACTOR ** (attempts - 1))
    return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (no secret)
