"""Holding a claimed job: renewing its lease, hearing what its owner wants, riding out outages.

A worker may only write while its lease stands. When the database is away, `Lease.write` waits
and tries again until the worker has been silent for too long; then the job counts as lost to
another worker, although nobody may have taken it yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from worker.errors import DatabaseUnavailable, LeaseLost
from worker.jobs import Job, Jobs, Signals
from worker.settings import Settings

Result = TypeVar("Result")
RETRY_SECONDS = 0.5


class Lease:
    """The hold of this worker on one running job. One thread uses it."""

    def __init__(self, jobs: Jobs, job: Job, settings: Settings) -> None:
        self._jobs = jobs
        self._job = job
        self._settings = settings
        self._renewed = self._due = time.monotonic()
        self.signals = Signals(cancel=False, pause=False)

    def seconds_until_due(self) -> float:
        """Until `keep` has something to do."""
        return max(0.0, self._due - time.monotonic())

    def keep(self) -> None:
        """Renew when due and hear cancel and pause wishes; raises LeaseLost."""
        now = time.monotonic()
        if now < self._due:
            return
        settings = self._settings
        try:
            if now - self._renewed >= settings.heartbeat_seconds - settings.control_seconds / 2:
                self.signals = self._jobs.heartbeat(self._job)
                self._renewed = time.monotonic()
            else:
                self.signals = self._jobs.signals(self._job)
        except DatabaseUnavailable as error:
            self._check_silence(error)
        self._due = time.monotonic() + min(settings.control_seconds, settings.heartbeat_seconds)

    def write(self, action: Callable[[], Result]) -> Result:
        """Do a fenced write, again and again while the database is away; raises LeaseLost."""
        while True:
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

    def _check_silence(self, error: DatabaseUnavailable) -> None:
        silent = time.monotonic() - self._renewed
        if silent > self._settings.silence_seconds:
            raise LeaseLost(
                f"The database has not answered for {silent:.0f} s; this worker lets go of "
                f"{self._job.id}, which goes on elsewhere."
            ) from error
