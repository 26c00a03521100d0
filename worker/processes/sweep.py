"""Removes what nobody points to: expired files, old keys, artifacts that died on the way."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.backend import Backend
from worker.jobs.idempotency import Idempotency
from worker.jobs.states import FINAL
from worker.jobs.tables import jobs
from worker.processes.presence import Presence
from worker.storage.tables import files, models, upload_parts
from worker.storage.uploads import Uploads
from worker.usage.storage_usage import StorageMeter
from worker.webhooks.deliverer import forget_old

LOG = logging.getLogger(__name__)

DAY = 86_400.0
YOUNG_SECONDS = 3600.0  # younger artifacts may still be waiting for their row
KEEP_KEYS_SECONDS = DAY


class Sweep:
    """One pass over everything; several at once do no harm."""

    def __init__(self, backend: Backend, *, young_seconds: float = YOUNG_SECONDS) -> None:
        self._backend = backend
        self._young = young_seconds
        self._storage = StorageMeter(backend)

    def run(self) -> None:
        """Remove what is over; raises DatabaseUnavailable."""
        self._backend.files.delete_expired()
        Idempotency(self._backend.database).forget_older(KEEP_KEYS_SECONDS)
        Presence(self._backend.database, self._backend.settings).forget_silent()
        self._storage.run()
        Uploads(self._backend.database, self._backend.store).expire_old()
        forget_old(self._backend.database)
        self._backend.store.sweep_staging(max(self._young, DAY))
        for prefix in ("jobs", "files", "uploads"):
            self.remove_orphans(prefix)

    def remove_orphans(self, prefix: str) -> int:
        """Delete artifacts under a folder that nothing points to; returns how many."""
        removed = 0
        for name in self._backend.store.list(prefix, older_than_seconds=self._young):
            # Looked up after the listing: whatever was going to point to it has done so, and a
            # live job may still do it.
            with self._backend.database.read() as connection:
                wanted = _is_wanted(connection, name)
            if not wanted:
                LOG.info("artifact %s: nothing points to it", name)
                self._backend.store.delete(name)
                removed += 1
        return removed


def _is_wanted(connection: Connection, name: str) -> bool:
    owner = _job_of(name)
    if owner is not None:
        row = connection.execute(
            select(jobs.c.state, jobs.c.checkpoint_history).where(jobs.c.id == owner)
        ).one_or_none()
        if row is not None and (
            row.state not in FINAL
            or name in {pointer["artifact"] for pointer in row.checkpoint_history}
        ):
            return True
    pointers = (files.c.artifact, models.c.artifact, upload_parts.c.artifact)
    return any(
        connection.execute(select(pointer).where(pointer == name).limit(1)).first() is not None
        for pointer in pointers
    )


def _job_of(name: str) -> str | None:
    """The job in an artifact's name such as jobs/<job>/<token>/step-120."""
    parts = name.split("/")
    return parts[1] if parts[0] == "jobs" and len(parts) > 2 else None
