"""Claiming due jobs and running them, one after the other, until none is left or we drain."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from worker.contracts import Queue
from worker.errors import DatabaseUnavailable
from worker.jobs import Job, Jobs
from worker.processes.identity import Identity

LOG = logging.getLogger(__name__)


class Runner:
    """Runs jobs of one queue, at most ``slots`` at a time. Safe to call from several threads."""

    def __init__(
        self,
        jobs: Jobs,
        queue: Queue,
        identity: Identity,
        slots: int,
        run: Callable[[Job, Callable[[], bool]], None],
    ) -> None:
        self._jobs = jobs
        self._queue = queue
        self._identity = identity
        self._slots = threading.Semaphore(slots)
        self._run = run
        self._asked = threading.Event()
        self._draining = threading.Event()

    def run_due(self) -> None:
        """Answer a wake-up: claim and run until nothing is due.

        With all slots busy this returns at once; whoever holds one looks again before it ends.
        """
        self._asked.set()
        while self._asked.is_set() and self._slots.acquire(blocking=False):
            try:
                self._asked.clear()
                while not self._draining.is_set() and (job := self._claim()) is not None:
                    self._run(job, self._draining.is_set)
            finally:
                self._slots.release()

    def drain(self) -> None:
        """Claim nothing more; running jobs make a checkpoint and go back to the queue."""
        self._draining.set()

    def _claim(self) -> Job | None:
        try:
            job = self._jobs.claim(self._queue, self._identity.name, self._identity.incarnation)
        except DatabaseUnavailable as error:
            LOG.warning("nothing claimed: %s", error.message)
            return None
        if job is not None:
            LOG.info("%s: claimed from %s, token %d", job.id, self._queue, job.token)
        return job
