"""Running jobs whose lease ran out long ago and that no reconciler has taken back.

A machine that slept makes all leases look like that while their workers live. So nothing is taken
back before one lease's length has passed, in which living workers renew, as in the reconciler; and
what counts is the time of the first look, whatever the clock does meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import select

from worker.backend import Backend
from worker.jobs.recovery import SLACK_SECONDS
from worker.jobs.tables import in_state, jobs
from worker.operations.checks.finding import Finding


class StuckJobs:
    """Those that are a whole lease behind the end of theirs: a reconciler takes seconds."""

    def __init__(
        self,
        backend: Backend,
        wait: Callable[[float], object] = time.sleep,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._backend = backend
        self._wait = wait
        self._say = say
        self._limit = 0.0

    def look(self) -> Iterator[Finding]:
        """By the index of leases."""
        settings, database = self._backend.settings, self._backend.database
        with database.read() as connection:
            now = database.now(connection)
            self._limit = now - settings.lease_seconds - SLACK_SECONDS
            rows = connection.execute(
                select(jobs.c.id, jobs.c.tenant, jobs.c.worker, jobs.c.lease_expires_at)
                .where(in_state("running"), jobs.c.lease_expires_at < self._limit)
                .order_by(jobs.c.lease_expires_at)
            ).all()
        for row in rows:
            detail = f"its lease ran out {now - row.lease_expires_at:,.0f} s ago ({row.worker})"
            yield Finding("stuck_job", row.id, detail, row.tenant)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Wait, then take back all whose lease has not been renewed since, as a reconciler does."""
        if not findings:
            return
        limit = self._limit
        seconds = self._backend.settings.lease_seconds + SLACK_SECONDS
        self._say(f"Waiting {seconds:.0f} s: workers that live renew their leases")
        self._wait(seconds)
        while self._backend.jobs.recover_expired(limit):
            pass
