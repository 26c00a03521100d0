"""Sends what is in the outbox, again and again over three days, each at least once.

A delivery is held for a minute, longer than it can take, by whoever sends it. Should that one
die, the hold runs out and another sends it again: a receiver may get an event twice (its
``webhook-id`` is the same) and never not at all.

Of one endpoint one delivery is under way at a time. The next one is of the tenant with the fewest
under way, and where several have as few, the lot decides: whoever has slow receivers and much to
send has always waited longest. So slow receivers hold up those of their own tenant, and others for
one delivery.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import ColumnElement, FromClause, delete, func, literal_column, select, update
from sqlalchemy.engine import Connection

from worker.errors import DatabaseUnavailable
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
        self._claiming = threading.Lock()

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
        """Send the delivery whose turn it is; False when none is due."""
        with self._claiming:  # each sees what the one before has taken
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
            except DatabaseUnavailable as error:
                LOG.warning("%s", error.message)
                worked = False
            except Exception:
                LOG.exception("a delivery failed in a way that nobody foresaw; it is tried again")
                worked = False
            if not worked:
                stop.wait(IDLE_SECONDS)

    def _claim(self) -> tuple[Endpoint, Delivery, float] | None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            for endpoint_id in _turns(connection, now):
                # Who else claims now cannot have it, and what follows sees what others have held.
                endpoint = connection.execute(
                    select(webhook_endpoints)
                    .where(webhook_endpoints.c.id == endpoint_id)
                    .with_for_update(skip_locked=True)
                ).one_or_none()
                if endpoint is None:
                    _drop_if_deleted(connection, endpoint_id)
                    continue
                held = self._hold_oldest(connection, endpoint_id, now)
                if held is not None:
                    return endpoint_from(endpoint), held, now
        return None

    def _hold_oldest(self, connection: Connection, endpoint_id: str, now: float) -> Delivery | None:
        """The delivery of an endpoint that is due longest; None while one is under way."""
        found = webhook_deliveries.c
        other = webhook_deliveries.alias()
        under_way = (
            select(other.c.id)
            .where(other.c.endpoint_id == endpoint_id, _is_pending(other), other.c.held_until > now)
            .exists()
        )
        oldest = (
            select(found.id)
            .where(
                found.endpoint_id == endpoint_id,
                _is_pending(webhook_deliveries),
                found.due_at <= now,
                ~under_way,
            )
            .order_by(found.due_at)
            .limit(1)
            .scalar_subquery()
        )
        row = connection.execute(
            update(webhook_deliveries)
            .where(
                found.id == oldest,
                # Looked at again should whoever held it too long note its end in this moment.
                _is_pending(webhook_deliveries),
                found.due_at <= now,
            )
            .values(held_until=now + self._hold, attempts=found.attempts + 1)
            .returning(*found)
        ).one_or_none()
        return None if row is None else delivery_from(row)

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


def _turns(connection: Connection, now: float) -> Sequence[str]:
    """The endpoints that have something due and nothing under way, the next one first.

    A tenant's second one stands where its first would with one more delivery under way.
    """
    found = webhook_deliveries.c
    pending = _is_pending(webhook_deliveries)
    held = connection.execute(
        select(found.tenant, found.endpoint_id).where(pending, found.held_until > now)
    ).all()
    waiting = connection.execute(
        select(found.tenant, found.endpoint_id)
        .where(pending, found.due_at <= now, found.held_until <= now)
        .group_by(found.tenant, found.endpoint_id)
        .order_by(func.min(found.due_at))
    ).all()
    taken = {row.endpoint_id for row in held}
    ahead = Counter(row.tenant for row in held)
    turns = []
    for row in waiting:
        if row.endpoint_id not in taken:
            lot = random.random()  # noqa: S311  (no secret)
            turns.append((ahead[row.tenant], lot, row.endpoint_id))
            ahead[row.tenant] += 1
    return [endpoint_id for _, _, endpoint_id in sorted(turns)]


def _drop_if_deleted(connection: Connection, endpoint_id: str) -> None:
    """Drop what was written for an endpoint while that was deleted."""
    there = select(webhook_endpoints.c.id).where(webhook_endpoints.c.id == endpoint_id)
    if connection.execute(there).one_or_none() is None:
        connection.execute(
            delete(webhook_deliveries).where(webhook_deliveries.c.endpoint_id == endpoint_id)
        )


def _is_pending(table: FromClause) -> ColumnElement[bool]:
    """Spelt out, for the partial index."""
    return table.c.state == literal_column("'pending'")


def delay_after(attempts: int) -> float:
    """Seconds until the next attempt: 5 s, tripling, at most 12 h, and up to a fifth off."""
    delay = min(LONGEST_DELAY, FIRST_DELAY * FACTOR ** (attempts - 1))
    return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (no secret)
