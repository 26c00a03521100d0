"""Puts right what went wrong elsewhere, every two seconds; any number of these may run.

Lost workers' jobs go back to the queue, deadlines are held, and idle workers are woken for what
is due, since a wake-up may have been lost. It is never needed for correctness of a single write:
those are fenced in the rows.

A machine that slept, or whose clock was set, makes leases look expired although their workers
are alive. So after a gap between what was waited and what the clock of the leases says, nothing
is taken from anybody for the length of one lease, in which living workers renew. And a pass judges
leases by the time it began at: if the machine sleeps in the middle of it, nobody loses by that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from worker.backend import Backend
from worker.errors import BrokerUnavailable, DatabaseUnavailable
from worker.jobs.rows import Queue
from worker.processes.presence import Presence
from worker.processes.sweep import Sweep

LOG = logging.getLogger(__name__)

QUEUES: tuple[Queue, ...] = ("training", "batch")
GAP_SECONDS = 5.0
SWEEP_SECONDS = 300.0


class Waker(Protocol):
    """Tells idle workers that a queue has work."""

    def publish(self, queue: Queue) -> bool:
        """Try once; False when it did not go out."""

    def waiting(self, queue: Queue) -> int:
        """Wake-ups that no worker has taken yet; raises BrokerUnavailable."""


class Reconciler:
    """One of them; one thread uses it."""

    def __init__(
        self,
        backend: Backend,
        wakeups: Waker,
        *,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._jobs = backend.jobs
        self._settings = backend.settings
        self._presence = Presence(backend.database, backend.settings)
        self._wakeups = wakeups
        self._sweep = Sweep(backend)
        self._clock = backend.jobs.clock if clock is None else clock
        self._monotonic = monotonic
        self._read: float | None = None  # what the clock said last
        self._since = 0.0  # seconds that we know of since then
        self._trust_leases_at = monotonic()
        self._held_up = False  # whether the last pass took too long
        self._sweep_at = monotonic() + SWEEP_SECONDS

    def run(self, stop: threading.Event) -> None:
        """Tick until told to stop; outages are ridden out."""
        while not stop.is_set():
            began = self._monotonic()
            try:
                self.tick()
            except DatabaseUnavailable as error:
                LOG.warning("%s", error.message)
            except Exception:
                LOG.exception("a pass of the reconciler failed; the next one tries again")
            worked = self._monotonic() - began
            self.note_pass(worked)
            stop.wait(self._settings.reconcile_seconds)
            self._since += worked + self._settings.reconcile_seconds

    def note_gap(self, seconds: float) -> None:
        """Hear by how much the clock and our waiting disagree; a large gap suspends trust."""
        if abs(seconds) > GAP_SECONDS:
            LOG.warning("the clock moved by %+.0f s more than we waited", seconds)
            self._suspend_trust()

    def note_pass(self, seconds: float) -> None:
        """Hear how long a pass took; one that was held up suspends trust too.

        We may have been stopped in the middle of it, and everybody else with us. But when the
        next one is as slow, it is the database, and leases must be taken back all the same.
        """
        held_up = seconds > GAP_SECONDS
        if held_up and not self._held_up:
            LOG.warning("a pass of the reconciler took %.0f s", seconds)
            self._suspend_trust()
        self._held_up = held_up

    def _suspend_trust(self) -> None:
        self._trust_leases_at = self._monotonic() + self._settings.lease_seconds

    def tick(self) -> None:
        """One pass; raises DatabaseUnavailable."""
        now = self._read_clock()
        if self._monotonic() >= self._trust_leases_at and self._jobs.needs_recovery():
            self._recover(now)
        for queue in QUEUES:
            self._wake(queue)
        if self._monotonic() >= self._sweep_at:
            self._sweep_at = self._monotonic() + SWEEP_SECONDS
            self._sweep.run()

    def _read_clock(self) -> float:
        now = self._clock()
        if self._read is not None:
            self.note_gap(now - self._read - self._since)
        self._read, self._since = now, 0.0
        return now

    def _recover(self, now: float) -> None:
        self._jobs.shorten_leases()
        for job in self._jobs.recover_expired(now):
            about = {"about": job.about}
            LOG.warning("%s: worker %s is lost; now %s", job.id, job.worker, job.state, extra=about)
        for job in self._jobs.fail_overdue():
            LOG.warning("%s: its deadline has passed", job.id, extra={"about": job.about})

    def _wake(self, queue: Queue) -> None:
        """Send as many wake-ups as there are both due jobs and idle slots, less those under way."""
        idle = self._presence.idle_slots(queue)
        due = self._jobs.due(queue, idle) if idle > 0 else 0
        if due == 0:
            return
        try:
            missing = due - self._wakeups.waiting(queue)
        except BrokerUnavailable:
            return
        for _ in range(missing):
            if not self._wakeups.publish(queue):
                return
