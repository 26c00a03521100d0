"""Jobs whose lease has run out and that nobody takes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
import sqlalchemy as sa

from tests.integration.checks.unsound import (
    OWNER,
    mended,
)
from tests.integration.conftest import run
from worker.backend import Backend
from worker.jobs.rows import Job
from worker.jobs.tables import jobs as job_table
from worker.operations.check import ServiceCheck
from worker.operations.checks.stuck_jobs import StuckJobs


class TestStuckJobs:
    @pytest.fixture
    def run_out(self, backend: Backend) -> Callable[..., None]:
        """Put leases back, of all running jobs or of one."""

        def put_back(seconds: float, job: Job | None = None) -> None:
            with backend.database.write() as connection:
                query = sa.update(job_table).where(job_table.c.state == "running")
                if job is not None:
                    query = query.where(job_table.c.id == job.id)
                now = backend.database.now(connection)
                connection.execute(query.values(lease_expires_at=now - seconds))

        return put_back

    def claimed(self, backend: Backend, count: int) -> list[Job]:
        for _ in range(count):
            backend.jobs.submit(OWNER, "training", {})
        return [run(backend.jobs, f"w{number}") for number in range(count)]

    def test_one_whose_reconciler_will_come(
        self, backend: Backend, service: ServiceCheck, run_out: Callable[..., None]
    ) -> None:
        self.claimed(backend, 1)
        run_out(backend.settings.lease_seconds / 2)

        assert service.look().found == []

    def test_more_than_a_hundred(
        self, backend: Backend, service: ServiceCheck, run_out: Callable[..., None]
    ) -> None:
        stuck = self.claimed(backend, 120)
        run_out(3600)

        assert mended(service.mend()) == sorted(("stuck_job", job.id) for job in stuck)

        found = backend.jobs.list(OWNER, limit=1000).items
        assert {(job.state, job.losses) for job in found} == {("queued", 1)}

    def test_those_that_renew_while_it_waits_keep_theirs(
        self, backend: Backend, broker: redis.Redis, run_out: Callable[..., None]
    ) -> None:
        """As after a machine slept: all look stuck, and most live."""
        dead, *living = self.claimed(backend, 3)
        run_out(8 * 3600)
        waited: list[float] = []

        def wait(seconds: float) -> None:
            waited.append(seconds)
            for job in living:
                backend.jobs.heartbeat(job)

        stuck = StuckJobs(backend, wait=wait)
        done = ServiceCheck(backend, broker, min_age=0, stuck=stuck).mend()

        assert len(done.found) == 3
        assert done.left == []
        assert waited[0] > backend.settings.lease_seconds
        assert {job.id: job.state for job in backend.jobs.list(OWNER).items} == {
            dead.id: "queued",
            **{job.id: "running" for job in living},
        }

    def test_nobody_is_waited_for_without_need(self, backend: Backend) -> None:
        StuckJobs(backend, wait=lambda _: pytest.fail("waited")).mend([])
