"""Which workers are there, and how many jobs each takes at once.

A worker says so when it starts, with each heartbeat, and when it leaves. It has one row a queue; a
reconciler, which takes no jobs, has one under no queue's name. One that has been silent for a
lease's length counts as gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update
from sqlalchemy.engine import Connection

from worker.errors import DatabaseUnavailable
from worker.jobs.rows import Queue
from worker.jobs.tables import in_state, jobs
from worker.settings import Settings
from worker.storage.database import Database, insert_into
from worker.storage.tables import workers

if TYPE_CHECKING:
    from worker.backend import Backend
    from worker.processes.identity import Identity

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker's place on one queue."""

    name: str
    incarnation: str
    role: str
    queue: str
    slots: int
    started_at: float
    seen_at: float

    @property
    def life(self) -> str:
        """What this life of the worker publishes its figures under."""
        return life_of(self.name, self.incarnation)


def life_of(name: str, incarnation: str) -> str:
    """One life of a worker, from its start to its end."""
    return f"{name}.{incarnation}"


class Presence:
    """The workers that are there. They belong to the machines, not to a tenant."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def register(self, name: str, incarnation: str, role: str, slots: Mapping[str, int]) -> None:
        """Say who is there now, in place of any former life under this name."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            connection.execute(delete(workers).where(workers.c.name == name))
            for queue, number in slots.items():
                connection.execute(
                    insert_into(connection, workers).values(
                        name=name,
                        incarnation=incarnation,
                        role=role,
                        queue=queue,
                        slots=number,
                        started_at=now,
                        seen_at=now,
                    )
                )

    def heartbeat(self, name: str, incarnation: str) -> bool:
        """Say that it is still there; False when its rows are gone: register again."""
        with self._database.write() as connection:
            seen = connection.execute(
                update(workers)
                .where(workers.c.name == name, workers.c.incarnation == incarnation)
                .values(seen_at=self._database.now(connection))
            )
            return seen.rowcount > 0

    def leave(self, name: str, incarnation: str) -> None:
        """Say that it is gone."""
        with self._database.write() as connection:
            connection.execute(
                delete(workers).where(workers.c.name == name, workers.c.incarnation == incarnation)
            )

    def idle_slots(self, queue: Queue) -> int:
        """Jobs of the queue that living workers could take now."""
        with self._database.read() as connection:
            since = self._database.now(connection) - self._settings.lease_seconds
            busy = connection.execute(
                select(func.count()).where(in_state("running"), jobs.c.queue == queue)
            ).scalar_one()
            return max(0, live_slots(connection, queue, since) - int(busy))

    def live(self) -> list[WorkerRow]:
        """The workers that are there and take jobs, by name."""
        rows, now = self.known()
        since = now - self._settings.lease_seconds
        return [row for row in rows if row.queue and row.seen_at >= since]

    def known(self) -> tuple[list[WorkerRow], float]:
        """Also those that have been silent for a while or take no jobs, and what time it is."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                select(workers).order_by(workers.c.name, workers.c.queue)
            ).all()
        found = [
            WorkerRow(**{name: row._mapping[name] for name in WorkerRow.__dataclass_fields__})
            for row in rows
        ]
        return found, now

    def forget_silent(self) -> int:
        """Drop workers that have been silent for ten leases; returns how many rows went."""
        with self._database.write() as connection:
            limit = self._database.now(connection) - 10 * self._settings.lease_seconds
            return connection.execute(delete(workers).where(workers.c.seen_at < limit)).rowcount


def live_slots(connection: Connection, queue: str, since: float) -> int:
    """Slots for the queue of workers that were seen since then."""
    return int(
        connection.execute(
            select(func.coalesce(func.sum(workers.c.slots), 0)).where(
                workers.c.queue == queue, workers.c.seen_at >= since
            )
        ).scalar_one()
    )


@contextmanager
def announce(
    backend: Backend, identity: Identity, role: str, slots: Mapping[str, int]
) -> Iterator[Presence]:
    """Free what a former life of this worker held, then be there until the block ends."""
    presence = Presence(backend.database, backend.settings)
    freed = backend.jobs.free_predecessor(identity.name, identity.incarnation)
    for job in freed:
        about = {"about": job.about}
        LOG.warning(
            "%s: taken from a former life of this worker, now %s", job.id, job.state, extra=about
        )
    presence.register(identity.name, identity.incarnation, role, slots)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(backend.settings.heartbeat_seconds):
            try:
                if not presence.heartbeat(identity.name, identity.incarnation):
                    presence.register(identity.name, identity.incarnation, role, slots)
            except DatabaseUnavailable as error:
                LOG.warning("heartbeat of %s: %s", identity.name, error.message)
            except Exception:
                LOG.exception("heartbeat of %s: it is tried again", identity.name)

    thread = threading.Thread(target=beat, name="presence", daemon=True)
    thread.start()
    try:
        yield presence
    finally:
        stop.set()
        thread.join()
        try:
            presence.leave(identity.name, identity.incarnation)
        except DatabaseUnavailable as error:
            LOG.warning("%s leaves unannounced: %s", identity.name, error.message)
