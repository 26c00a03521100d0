"""The hold of a worker that works long, hangs, is stopped, or has no database."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.integration.conftest import fill_disk, run
from worker.errors import DatabaseUnavailable, LeaseLost
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job, Signals
from worker.processes.lease import Lease
from worker.settings import Settings
from worker.storage.database import Database

T = TypeVar("T")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    quick = {
        "lease_seconds": 2.0,
        "heartbeat_seconds": 0.1,
        "control_seconds": 0.05,
        "silence_seconds": 1.2,
    }
    return settings.model_copy(update=quick)


def until(ask: Callable[[], T]) -> T:
    """What ``ask`` says, once it says something."""
    deadline = time.monotonic() + 60
    while not (found := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@pytest.fixture
def job(jobs: Jobs) -> Job:
    jobs.submit("default", "training", {})
    return run(jobs)


def test_work_that_is_longer_than_a_lease_does_not_cost_it(
    jobs: Jobs, job: Job, settings: Settings
) -> None:
    with Lease(jobs, job, settings) as lease:
        time.sleep(2.5)  # such as reading a file of some gigabytes
        assert jobs.recover_expired() == []
        lease.keep()


def test_a_hung_worker_loses_its_job(jobs: Jobs, job: Job, settings: Settings) -> None:
    hasty = settings.model_copy(update={"hang_seconds": 0.2})
    with Lease(jobs, job, hasty) as lease:
        assert [lost.id for lost in until(jobs.recover_expired)] == [job.id]
        with pytest.raises(LeaseLost):
            lease.keep()


def test_wishes_are_heard_by_the_way(jobs: Jobs, job: Job, settings: Settings) -> None:
    with Lease(jobs, job, settings) as lease:
        jobs.request_cancel("default", job.id)
        until(lambda: lease.signals.cancel)


def test_a_job_that_another_one_has_is_let_go(jobs: Jobs, job: Job, settings: Settings) -> None:
    with Lease(jobs, job, settings) as lease:
        jobs.requeue(job, "as if it had been taken")
        assert run(jobs, "w2").id == job.id
        with pytest.raises(LeaseLost):
            while True:
                lease.keep()
                time.sleep(0.01)


def test_a_database_that_stays_away_costs_the_job(job: Job, settings: Settings) -> None:
    away = Jobs(Database("postgresql+psycopg://127.0.0.1:1/nothing"), settings)

    def ask() -> Job:
        return away.get("default", job.id)

    with pytest.raises(DatabaseUnavailable):
        ask()
    with Lease(away, job, settings) as lease:
        with pytest.raises(LeaseLost):
            lease.write(ask)
        with pytest.raises(LeaseLost):
            lease.keep()


def test_a_full_database_is_waited_for(
    jobs: Jobs, job: Job, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    heartbeat = Jobs.heartbeat

    def beat(self: Jobs, held: Job) -> Signals:
        if full.is_set():
            fill_disk(database)
        return heartbeat(self, held)

    def write() -> Job:
        if full.is_set():
            fill_disk(database)
        return jobs.get("default", job.id)

    monkeypatch.setattr(Jobs, "heartbeat", beat)
    with Lease(jobs, job, settings.model_copy(update={"silence_seconds": 30.0})) as lease:
        full.set()
        lease.try_write(write)  # what may be left out is
        threading.Timer(0.7, full.clear).start()

        assert lease.write(write).id == job.id

        lease.keep()
        jobs.request_cancel("default", job.id)
        until(lambda: lease.signals.cancel)


def test_work_stops_although_the_database_never_answers(job: Job, settings: Settings) -> None:
    """It takes connections and says nothing, as behind a proxy that hangs."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        jobs = Jobs(Database(f"postgresql+psycopg://127.0.0.1:{port}/nothing"), settings)
        with Lease(jobs, job, settings, stopped.set) as lease:
            assert stopped.wait(4.5)  # connecting alone is given five seconds
            assert lease.silent
