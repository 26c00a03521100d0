"""How many jobs may wait at once."""

from __future__ import annotations

import threading
import time

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from worker.errors import QueueFull
from worker.jobs.tables import in_state, jobs

COUNT_AGAIN_SECONDS = 1.0


class Backlog:
    """Keeps the queue from growing without bound, counting it at most once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._count_again = 0.0

    def check(self, connection: Connection, limit: int) -> None:
        """Raise QueueFull when this many jobs wait; else count one more."""
        with self._lock:
            if time.monotonic() >= self._count_again:
                waiting = select(jobs.c.queue).where(in_state("queued")).limit(limit)
                self._count = connection.execute(
                    select(func.count()).select_from(waiting.subquery())
                ).scalar_one()
                self._count_again = time.monotonic() + COUNT_AGAIN_SECONDS
            if self._count >= limit:
                raise QueueFull(
                    f"{limit:,} jobs wait already. Try again in {QueueFull.retry_after:.0f} s."
                )
            self._count += 1
