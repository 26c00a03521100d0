"""Lost workers, too many of them, drains, retries, deadlines, clocks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from tests.integration.conftest import events_are_whole, run
from worker.errors import LeaseLost
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.tables import jobs as table
from worker.settings import Settings
from worker.storage.database import Database

Expire = Callable[[Job], None]


def submit(jobs: Jobs, **options: float) -> Job:
    return jobs.submit("default", "training", {}, **options)  # type: ignore[arg-type]


def lose(jobs: Jobs, expire: Expire) -> Job:
    """Claim the job, lose the worker, let the reconciler find it."""
    expire(run(jobs))
    (job,) = jobs.recover_expired()
    return job


def test_a_lost_workers_job_is_queued_again(jobs: Jobs, expire: Expire) -> None:
    submit(jobs)

    job = lose(jobs, expire)

    assert (job.state, job.phase, job.losses, job.attempts) == ("queued", "queued", 1, 0)
    assert jobs.recover_expired() == []
    assert run(jobs).token == 2
    assert events_are_whole(jobs, job.id) == ["queued", "running", "queued", "running"]


def test_a_living_workers_job_is_left_alone(jobs: Jobs) -> None:
    submit(jobs)
    run(jobs)

    assert not jobs.needs_recovery()
    assert jobs.recover_expired() == []


def test_three_losses_without_a_checkpoint_are_poison(jobs: Jobs, expire: Expire) -> None:
    submit(jobs)

    states = [lose(jobs, expire).state for _ in range(3)]

    assert states == ["queued", "queued", "failed"]
    job = jobs.list("default").items[0]
    assert job.error is not None and job.error["code"] == "poison"
    assert "memory" in job.error["message"]
    assert job.finished_at is not None and job.losses == 3


def test_a_worker_may_report_the_loss_itself(jobs: Jobs) -> None:
    submit(jobs)

    after = [jobs.requeue(run(jobs), "killed by signal 9", counts_as="loss") for _ in range(3)]

    assert [job.state for job in after] == ["queued", "queued", "failed"]
    assert after[-1].error is not None
    assert after[-1].error["code"] == "poison" and "signal 9" in after[-1].error["message"]


def test_a_checkpoint_further_on_forgives_the_losses(jobs: Jobs, expire: Expire) -> None:
    submit(jobs)
    for step in (10, 20, 30, 40):
        lose(jobs, expire)
        lose(jobs, expire)
        job = run(jobs)
        jobs.save_checkpoint(job, artifact=f"step-{step}", step=step, metrics={})
        jobs.requeue(job, "drain")

    assert jobs.list("default").items[0].losses == 0


def test_the_same_checkpoint_again_forgives_nothing(jobs: Jobs, expire: Expire) -> None:
    submit(jobs)
    jobs.save_checkpoint(job := run(jobs), artifact="a", step=10, metrics={})
    expire(job)
    jobs.recover_expired()
    for name in ("b", "c"):
        job = run(jobs)
        jobs.save_checkpoint(job, artifact=name, step=10, metrics={})
        expire(job)
        (lost,) = jobs.recover_expired()

    assert (lost.state, lost.losses) == ("failed", 3)


def test_drains_count_as_nothing(jobs: Jobs) -> None:
    submit(jobs)

    after = [jobs.requeue(run(jobs), "drain") for _ in range(20)]

    assert {(job.state, job.attempts, job.losses) for job in after} == {("queued", 0, 0)}


def test_retries_end_after_five(jobs: Jobs, settings: Settings) -> None:
    submit(jobs)

    after = [
        jobs.requeue(run(jobs), "storage is away", counts_as="attempt")
        for _ in range(settings.max_attempts + 1)
    ]

    assert [job.state for job in after] == ["queued"] * 5 + ["failed"]
    assert after[-1].error is not None
    assert after[-1].error["code"] == "too_many_retries"
    assert "storage is away" in after[-1].error["message"]


def test_a_delay_has_some_jitter(jobs: Jobs, database: Database) -> None:
    delays = []
    for _ in range(8):
        submit(jobs)
        job = jobs.requeue(run(jobs), "away", delay=1000, counts_as="attempt")
        with database.read() as connection:
            delays.append(job.due_at - database.now(connection))

    assert all(700 < delay < 1300 for delay in delays)
    assert len({round(delay) for delay in delays}) > 1


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [(["cancel"], "cancelled"), (["pause"], "paused"), (["pause", "cancel"], "cancelled")],
)
def test_the_owners_wish_outlives_the_worker(
    jobs: Jobs, expire: Expire, wishes: list[str], expected: str
) -> None:
    submit(jobs)
    job = run(jobs)
    for wish in wishes:
        getattr(jobs, f"request_{wish}")("default", job.id)
    expire(job)

    (after,) = jobs.recover_expired()

    assert after.state == expected
    assert jobs.claim("training", "w2") is None


def test_a_restarted_worker_frees_what_its_former_life_held(jobs: Jobs) -> None:
    for _ in range(4):
        submit(jobs)
    dead = [run(jobs, "w1", "first life"), run(jobs, "w1", "first life")]
    alive = [run(jobs, "w1", "second life"), run(jobs, "w2", "first life")]

    freed = jobs.free_predecessor("w1", "second life")

    assert {job.id for job in freed} == {job.id for job in dead}
    assert all(job.state == "queued" and job.losses == 1 for job in freed)
    for job in alive:
        jobs.heartbeat(job)
    for job in dead:
        with pytest.raises(LeaseLost):
            jobs.heartbeat(job)


def test_two_reconcilers_at_once_recover_each_job_once(jobs: Jobs, expire: Expire) -> None:
    for _ in range(40):
        submit(jobs)
    for _ in range(40):
        expire(run(jobs))
    found: list[list[Job]] = [[], [], []]

    def reconcile(number: int) -> None:
        while recovered := jobs.recover_expired():
            found[number] += recovered

    threads = [threading.Thread(target=reconcile, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    while recovered := jobs.recover_expired():  # rows that were locked by another one's pass
        found[0] += recovered
    ids = [job.id for each in found for job in each]
    assert len(ids) == len(set(ids)) == 40
    assert all(job.losses == 1 for job in jobs.list("default", limit=100).items)


def test_more_than_one_transactions_worth(jobs: Jobs, expire: Expire) -> None:
    for _ in range(130):
        submit(jobs)
        run(jobs, "w1", "first life")

    assert len(jobs.free_predecessor("w1", "second life")) == 130


class TestDeadline:
    @pytest.mark.parametrize("state", ["queued", "running"])
    def test_ends_what_is_not_done(self, jobs: Jobs, state: str) -> None:
        job = submit(jobs, deadline_seconds=-1)
        if state == "running":
            job = run(jobs)
        assert jobs.needs_recovery()

        (failed,) = jobs.fail_overdue()

        assert (failed.state, failed.phase) == ("failed", "expired")
        assert failed.error is not None and failed.error["code"] == "deadline_exceeded"
        assert jobs.fail_overdue() == [] and not jobs.needs_recovery()
        if state == "running":
            with pytest.raises(LeaseLost):
                jobs.succeed(job, {})

    def test_leaves_the_others(self, jobs: Jobs) -> None:
        submit(jobs)
        submit(jobs, deadline_seconds=1000)
        submit(jobs, deadline_seconds=-1)
        jobs.paused(jobs.claim("training", "w") or pytest.fail("nothing to claim"))

        assert len(jobs.fail_overdue()) == 1
        assert sorted(job.state for job in jobs.list("default").items) == [
            "failed",
            "paused",
            "queued",
        ]


def test_a_lease_from_a_clock_that_was_ahead_is_cut(
    jobs: Jobs, database: Database, settings: Settings
) -> None:
    submit(jobs)
    job = run(jobs)
    with database.write() as connection:
        hour_ahead = database.now(connection) + 3600
        connection.execute(sa.update(table).values(lease_expires_at=hour_ahead))
    assert jobs.needs_recovery()

    assert jobs.shorten_leases() == 1

    expires = jobs.get("default", job.id).lease_expires_at
    assert expires is not None and expires < hour_ahead - 3600 + settings.lease_seconds + 10
    assert jobs.shorten_leases() == 0 and not jobs.needs_recovery()
