"""Holding a claimed job: renewing its lease, hearing what its owner wants, riding out outages.

A thread renews, so that long work such as reading a large file or a slow disk costs no lease. It
stops when whoever works on the job has shown no life for too long: then a hung worker loses it.

A second thread asks nobody: a database that takes a question and never answers holds up whoever
asked, and what works for the job must stop all the same (``on_silence``) before another begins.

A worker may only write while its lease stands. When the database is away, `Lease.write` waits
and tries again until the worker has been silent for too long; then the job counts as lost to
another worker, although nobody may have taken it yet.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

from worker import logs
from worker.errors import DatabaseUnavailable, LeaseLost
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job, Signals
from worker.settings import Settings

LOG = logging.getLogger(__name__)

Result = TypeVar("Result")
RETRY_SECONDS = 0.5
LOOK_SECONDS = 0.5
JOIN_SECONDS = 1.0


class Lease:
    """The hold of this worker on one running job, renewed within the ``with`` block.

    One thread works on the job and calls the methods. ``on_silence`` is called once, by another
    thread, when the lease could not be renewed for too long.
    """

    def __init__(
        self,
        jobs: Jobs,
        job: Job,
        settings: Settings,
        on_silence: Callable[[], object] = lambda: None,
    ) -> None:
        self._jobs = jobs
        self._job = job
        self._settings = settings
        self._renewed = self._alive = time.monotonic()
        self._lost: LeaseLost | None = None
        self._over = threading.Event()
        self._on_silence = on_silence
        self._threads = [
            threading.Thread(target=logs.carried(target), name=f"lease-{job.id}", daemon=True)
            for target in (self._renew, self._guard)
        ]
        self.signals = Signals(
            cancel=job.cancel_requested_at is not None, pause=job.pause_requested_at is not None
        )
        self.silent = False  # whether `on_silence` was called

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)  # one may wait for a database that never answers

    @property
    def look_seconds(self) -> float:
        """How long the worker may wait for something else before it looks at `signals` again."""
        return min(LOOK_SECONDS, self._settings.control_seconds)

    def keep(self) -> None:
        """Show life; raises LeaseLost when the job is no longer ours. To be called often."""
        self._alive = time.monotonic()
        if self._lost is not None:
            raise LeaseLost(self._lost.message) from self._lost
        if self._alive - self._renewed > self._settings.silence_seconds:
            # We were stopped, or the database is away. Perhaps nobody has taken the job yet.
            try:
                self._beat()
            except DatabaseUnavailable as error:
                self._check_silence(error)

    def write(self, action: Callable[[], Result]) -> Result:
        """Do a fenced write, or a read that the job cannot do without; raises LeaseLost.

        Again and again while the database is away.
        """
        while True:
            self._alive = time.monotonic()
            try:
                return action()
            except DatabaseUnavailable as error:
                self._check_silence(error)
                time.sleep(RETRY_SECONDS)

    def try_write(self, action: Callable[[], object]) -> None:
        """Do a fenced write that may be left out while the database is away."""
        try:
            action()
        except DatabaseUnavailable as error:
            self._check_silence(error)

    # ---- the thread that renews ----

    def _renew(self) -> None:
        settings = self._settings
        interval = min(settings.control_seconds, settings.heartbeat_seconds)
        while not self._over.wait(interval):
            now = time.monotonic()
            if now - self._alive > settings.hang_seconds:
                LOG.error("%s: no sign of life from its worker; it is let go", self._job.id)
                return
            try:
                if now - self._renewed >= settings.heartbeat_seconds - interval / 2:
                    self._beat()
                else:
                    self.signals = self._jobs.signals(self._job)
            except DatabaseUnavailable:
                continue  # `keep` and `write` know for how long
            except LeaseLost as lost:
                self._lost = lost
                return
            except Exception:
                LOG.exception("%s: its lease could not be renewed", self._job.id)

    def _guard(self) -> None:
        while not self._over.wait(self.look_seconds):
            if time.monotonic() - self._renewed > self._settings.silence_seconds:
                LOG.warning("%s: its lease cannot be renewed; its work is stopped", self._job.id)
                self.silent = True
                self._on_silence()
                return

    def _beat(self) -> None:
        asked = time.monotonic()
        self.signals = self._jobs.heartbeat(self._job)
        self._renewed = asked

    def _check_silence(self, error: DatabaseUnavailable) -> None:
        silent = time.monotonic() - self._renewed
        if silent > self._settings.silence_seconds:
            raise LeaseLost(
                f"The database has not answered for {silent:.0f} s; this worker lets go of "
                f"{self._job.id}, which goes on elsewhere."
            ) from error
