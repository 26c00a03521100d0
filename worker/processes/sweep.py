"""Removes what nobody points to: expired files, old keys, artifacts that died on the way."""

from __future__ import annotations

import logging
from itertools import chain

from worker.backend import Backend
from worker.jobs.idempotency import forget_keys
from worker.processes.presence import Presence
from worker.processes.wanted import wanted
from worker.storage.key_rows import forget_sessions
from worker.storage.uploads import Uploads
from worker.usage.storage_usage import StorageMeter
from worker.webhooks.deliverer import forget_old

LOG = logging.getLogger(__name__)

DAY = 86_400.0
YOUNG_SECONDS = 3600.0  # younger artifacts may still be waiting for their row
KEEP_KEYS_SECONDS = DAY
KEEP_SESSIONS_SECONDS = 62 * DAY  # the usage of this month and the last names them


class Sweep:
    """One pass over everything; several at once do no harm."""

    def __init__(self, backend: Backend, *, young_seconds: float = YOUNG_SECONDS) -> None:
        self._backend = backend
        self._young = young_seconds
        self._storage = StorageMeter(backend)

    def run(self) -> None:
        """Remove what is over; raises DatabaseUnavailable."""
        self._backend.files.delete_expired()
        forget_keys(self._backend.database, KEEP_KEYS_SECONDS)
        forget_sessions(self._backend.database, KEEP_SESSIONS_SECONDS)
        Presence(self._backend.database, self._backend.settings).forget_silent()
        self._storage.run()
        Uploads(self._backend.database, self._backend.store).expire_old()
        forget_old(self._backend.database)
        self._backend.store.sweep_staging(max(self._young, DAY))
        for prefix in ("jobs", "files", "uploads", "models"):
            self.remove_orphans(prefix)
            self._backend.store.remove_empty_folders(prefix, self._young)

    def remove_orphans(self, prefix: str) -> int:
        """Delete artifacts under a folder that nothing points to; returns how many."""
        removed = 0
        store = self._backend.store
        for name in chain(
            store.list(prefix, older_than_seconds=self._young),
            store.list(prefix, older_than_seconds=self._young, quarantined=True),
        ):
            # Looked up after the listing: whatever was going to point to it has done so, and a
            # live job may still do it.
            with self._backend.database.read() as connection:
                unwanted = not wanted(connection, [name])
            if unwanted:
                LOG.info("artifact %s: nothing points to it", name)
                store.delete(name)
                removed += 1
        return removed
