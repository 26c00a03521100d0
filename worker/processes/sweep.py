"""Removes what nobody points to: expired files, old keys, artifacts that died on the way."""

from __future__ import annotations

import logging
import time

from worker.backend import Backend
from worker.jobs.idempotency import forget_keys
from worker.processes.orphans import FOLDERS, delete_orphans, find_orphans
from worker.processes.presence import Presence
from worker.storage.key_rows import forget_sessions
from worker.storage.uploads import Uploads
from worker.usage.storage_usage import StorageMeter
from worker.webhooks.deliverer import forget_old

LOG = logging.getLogger(__name__)

DAY = 86_400.0
YOUNG_SECONDS = 3600.0  # younger artifacts may still be waiting for their row
KEEP_KEYS_SECONDS = DAY
WARN_SECONDS = 3600.0  # between two warnings about the same
KEEP_SESSIONS_SECONDS = 62 * DAY  # the usage of this month and the last names them


class Sweep:
    """One pass over everything; several at once do no harm."""

    def __init__(self, backend: Backend, *, young_seconds: float = YOUNG_SECONDS) -> None:
        self._backend = backend
        self._young = young_seconds
        self._storage = StorageMeter(backend)
        self._warn_at: float | None = None

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
        self.remove_orphans()
        for folder in FOLDERS:
            self._backend.store.remove_empty_folders(folder, self._young)

    def remove_orphans(self) -> int:
        """Delete artifacts that nothing points to; returns how many.

        None are where storage and database do not belong together.
        """
        found = find_orphans(self._backend, self._young)
        if found.apart:
            self._warn(len(found.names))
            return 0
        removed = 0
        for name in delete_orphans(self._backend, found.names):
            LOG.info("artifact %s: nothing pointed to it", name)
            removed += 1
        return removed

    def _warn(self, count: int) -> None:
        if self._warn_at is None or time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_SECONDS
            LOG.warning(
                "nothing points to %d artifacts, and the database knows nothing of most of what is "
                "stored: none is deleted. Do TEXTGEN_DATABASE_URL and TEXTGEN_STORAGE_URL belong "
                "together? `textgen admin check` lists them",
                count,
            )
