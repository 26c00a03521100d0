from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.integration.conftest import run
from worker.backend import Backend
from worker.contracts import Queue
from worker.errors import BrokerUnavailable
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.tables import jobs as table
from worker.processes.presence import Presence
from worker.processes.reconciler import Reconciler


class CountedWakeups:
    """Wake-ups that pile up in memory as they would in Redis."""

    def __init__(self, *, away: bool = False, refuse: bool = False) -> None:
        self.sent: Counter[str] = Counter()
        self.away = away
        self.refuse = refuse

    def publish(self, queue: Queue) -> bool:
        self.sent[queue] += not self.refuse
        return not self.refuse

    def waiting(self, queue: Queue) -> int:
        if self.away:
            raise BrokerUnavailable("away")
        return self.sent[queue]


class HandClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def presence(backend: Backend) -> Presence:
    return Presence(backend.database, backend.settings)


def submit(jobs: Jobs, count: int) -> None:
    for _ in range(count):
        jobs.submit("default", "training", {})


class TestWakeUps:
    def test_no_more_than_idle_slots(self, backend: Backend, presence: Presence) -> None:
        presence.register("w1", "a", "train", {"training": 2})
        presence.register("w2", "a", "train", {"training": 1, "batch": 4})
        submit(backend.jobs, 10)
        wakeups = CountedWakeups()

        Reconciler(backend, wakeups).tick()

        assert wakeups.sent == {"training": 3}

    def test_no_more_than_due_jobs(self, backend: Backend, presence: Presence) -> None:
        presence.register("w1", "a", "train", {"training": 5})
        submit(backend.jobs, 2)
        wakeups = CountedWakeups()

        Reconciler(backend, wakeups).tick()

        assert wakeups.sent == {"training": 2}

    def test_those_under_way_count(self, backend: Backend, presence: Presence) -> None:
        presence.register("w1", "a", "train", {"training": 5})
        submit(backend.jobs, 4)
        wakeups = CountedWakeups()
        reconcilers = [Reconciler(backend, wakeups) for _ in range(2)]

        for _ in range(3):
            for reconciler in reconcilers:
                reconciler.tick()

        assert wakeups.sent == {"training": 4}

    def test_busy_workers_are_left_alone(self, backend: Backend, presence: Presence) -> None:
        presence.register("w1", "a", "train", {"training": 1})
        submit(backend.jobs, 2)
        run(backend.jobs)
        wakeups = CountedWakeups()

        Reconciler(backend, wakeups).tick()

        assert wakeups.sent.total() == 0

    @pytest.mark.parametrize(
        "wakeups", [CountedWakeups(away=True), CountedWakeups(refuse=True)], ids=["away", "refuses"]
    )
    def test_a_broker_that_is_away_does_no_harm(
        self,
        backend: Backend,
        presence: Presence,
        expire: Callable[[Job], None],
        wakeups: CountedWakeups,
    ) -> None:
        presence.register("w1", "a", "train", {"training": 2})
        submit(backend.jobs, 1)
        expire(run(backend.jobs))

        Reconciler(backend, wakeups).tick()

        assert wakeups.sent.total() == 0
        assert backend.jobs.list("default").items[0].state == "queued"


def test_a_pass_puts_everything_right(backend: Backend, expire: Callable[[Job], None]) -> None:
    jobs = backend.jobs
    submit(jobs, 3)
    lost, unwanted, alive = run(jobs), run(jobs), run(jobs)
    overdue = jobs.submit("default", "batch", {}, deadline_seconds=-1)
    jobs.request_cancel("default", unwanted.id)
    expire(lost)
    expire(unwanted)

    Reconciler(backend, CountedWakeups()).tick()

    states = {job.id: job.state for job in jobs.list("default").items}
    assert states == {
        lost.id: "queued",
        unwanted.id: "cancelled",
        alive.id: "running",
        overdue.id: "failed",
    }


class TestSleep:
    def test_after_a_gap_nothing_is_taken_for_one_lease(
        self, backend: Backend, expire: Callable[[Job], None]
    ) -> None:
        submit(backend.jobs, 1)
        job = run(backend.jobs)
        clock = HandClock()
        reconciler = Reconciler(backend, CountedWakeups(), monotonic=clock)

        reconciler.note_gap(8 * 3600.0)
        expire(job)
        reconciler.tick()
        assert backend.jobs.get("default", job.id).state == "running"

        backend.jobs.heartbeat(job)  # the worker woke up too
        clock.now += backend.settings.lease_seconds + 1
        reconciler.tick()
        after = backend.jobs.get("default", job.id)
        assert (after.state, after.losses) == ("running", 0)

    def test_a_worker_that_did_not_wake_up_is_lost_then(
        self, backend: Backend, expire: Callable[[Job], None]
    ) -> None:
        submit(backend.jobs, 1)
        expire(run(backend.jobs))
        clock = HandClock()
        reconciler = Reconciler(backend, CountedWakeups(), monotonic=clock)

        reconciler.note_gap(-3600.0)
        clock.now += backend.settings.lease_seconds + 1
        reconciler.tick()

        assert backend.jobs.list("default").items[0].losses == 1

    def test_a_pass_that_was_held_up_suspends_trust_once(
        self, backend: Backend, expire: Callable[[Job], None]
    ) -> None:
        """It may have stood still with its machine; a database that is slow is slow again."""
        submit(backend.jobs, 1)
        expire(run(backend.jobs))
        clock = HandClock()
        reconciler = Reconciler(backend, CountedWakeups(), monotonic=clock)

        reconciler.note_pass(100.0)
        reconciler.tick()
        assert backend.jobs.list("default").items[0].state == "running"

        clock.now += backend.settings.lease_seconds + 1
        reconciler.note_pass(100.0)
        reconciler.tick()
        assert backend.jobs.list("default").items[0].state == "queued"

    def test_a_small_difference_is_no_gap(
        self, backend: Backend, expire: Callable[[Job], None]
    ) -> None:
        submit(backend.jobs, 1)
        expire(run(backend.jobs))
        reconciler = Reconciler(backend, CountedWakeups())

        reconciler.note_gap(3.0)
        reconciler.tick()

        assert backend.jobs.list("default").items[0].state == "queued"

    def test_a_pass_judges_by_the_time_it_began_at(
        self, backend: Backend, expire: Callable[[Job], None]
    ) -> None:
        """The machine slept for ten seconds between two of its statements."""
        submit(backend.jobs, 1)
        expire(run(backend.jobs))
        clocks = [lambda: backend.jobs.clock() - 10, backend.jobs.clock]

        states = []
        for clock in clocks:
            Reconciler(backend, CountedWakeups(), clock=clock).tick()
            states.append(backend.jobs.list("default").items[0].state)

        assert states == ["running", "queued"]

    def test_the_running_reconciler_sees_the_clock_jump(self, backend: Backend) -> None:
        submit(backend.jobs, 1)
        job = run(backend.jobs)
        settings = backend.settings.model_copy(update={"reconcile_seconds": 0.05})
        ahead = threading.Event()
        stop = threading.Event()
        reconciler = Reconciler(
            replace(backend, settings=settings),
            CountedWakeups(),
            clock=lambda: backend.jobs.clock() + (3600 if ahead.is_set() else 0),
        )
        thread = threading.Thread(target=reconciler.run, args=(stop,))
        thread.start()
        time.sleep(0.3)
        ahead.set()
        time.sleep(0.3)
        with backend.database.write() as connection:
            connection.execute(sa.update(table).values(lease_expires_at=1.0))
        time.sleep(0.5)
        stop.set()
        thread.join()

        assert backend.jobs.get("default", job.id).state == "running"


def test_two_that_run_at_once(backend: Backend, expire: Callable[[Job], None]) -> None:
    settings = backend.settings.model_copy(update={"reconcile_seconds": 0.01})
    fast = replace(backend, settings=settings)
    submit(backend.jobs, 20)
    for _ in range(20):
        expire(run(backend.jobs))
    stop = threading.Event()
    threads = [
        threading.Thread(target=Reconciler(fast, CountedWakeups()).run, args=(stop,))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while backend.jobs.due("training", 20) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()

    found = backend.jobs.list("default", limit=100).items
    assert {(job.state, job.losses) for job in found} == {("queued", 1)}


def test_an_outage_does_not_end_it(
    backend: Backend, expire: Callable[[Job], None], caplog: pytest.LogCaptureFixture
) -> None:
    submit(backend.jobs, 1)
    expire(run(backend.jobs))
    settings = backend.settings.model_copy(update={"reconcile_seconds": 0.01})
    with backend.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE jobs RENAME TO gone"))
    stop = threading.Event()
    reconciler = Reconciler(replace(backend, settings=settings), CountedWakeups())
    thread = threading.Thread(target=reconciler.run, args=(stop,))
    thread.start()
    time.sleep(0.2)
    with backend.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE gone RENAME TO jobs"))
    deadline = time.monotonic() + 60
    while backend.jobs.due("training", 1) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join()

    assert backend.jobs.due("training", 1) == 1
    assert "a pass of the reconciler failed" in caplog.text
