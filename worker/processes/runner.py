"""Claiming due jobs and running them, one after the other, until none is left or we drain.

When the database does not answer a claim, nobody knows whether it took place. So this process
remembers what it works on; what it holds beyond that goes back to the queue before it claims
again, instead of waiting for its lease to run out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from worker import logs, tracing
from worker.contracts import Queue
from worker.errors import DatabaseUnavailable
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.processes.identity import Identity

LOG = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


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
        self._claiming = threading.Lock()
        self._held: set[tuple[str, int]] = set()  # ids and tokens of what is being worked on
        self._in_doubt = False  # whether there may be claims that we have not heard of

    def run_due(self) -> None:
        """Answer a wake-up: claim and run until nothing is due.

        With all slots busy this returns at once; whoever holds one looks again before it ends.
        """
        self._asked.set()
        while self._asked.is_set() and self._slots.acquire(blocking=False):
            try:
                self._asked.clear()
                while not self._draining.is_set() and (job := self._claim()) is not None:
                    self._work_on(job)
            finally:
                self._slots.release()

    def _work_on(self, job: Job) -> None:
        values: tracing.Values = {
            "textgen.job_id": job.id,
            "textgen.tenant": job.tenant,
            "textgen.claim": job.token,
        }
        context = tracing.parent(job.traceparent)
        with logs.bound(**job.about), tracing.span(f"{job.kind} run", context, values=values):
            LOG.info("%s: claimed from %s, token %d", job.id, self._queue, job.token)
            try:
                self._run(job, self._draining.is_set)
            finally:
                self._held.discard((job.id, job.token))

    def drain(self) -> None:
        """Claim nothing more; running jobs make a checkpoint and go back to the queue."""
        self._draining.set()

    def _claim(self) -> Job | None:
        """The job whose turn it is; waits for a database that is away."""
        with self._claiming:
            while not self._draining.is_set():
                try:
                    return self._try_to_claim()
                except DatabaseUnavailable as error:
                    if not self._in_doubt:
                        LOG.warning("nothing claimed from %s: %s", self._queue, error.message)
                    self._in_doubt = True
                    self._draining.wait(RETRY_SECONDS)
            return None

    def _try_to_claim(self) -> Job | None:
        name, incarnation = self._identity.name, self._identity.incarnation
        if self._in_doubt:
            for job in self._jobs.free_unheld(self._queue, name, incarnation, self._held):
                about = {"about": job.about}
                LOG.warning("%s: nobody works on it here, now %s", job.id, job.state, extra=about)
            self._in_doubt = False
        claimed = self._jobs.claim(self._queue, name, incarnation)
        if claimed is not None:
            self._held.add((claimed.id, claimed.token))
        return claimed
