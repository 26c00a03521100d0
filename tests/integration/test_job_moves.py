"""Every move between the states of a job, the legal ones and the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from tests.integration.conftest import events_are_whole, run
from worker.errors import Conflict, LeaseLost, NotFound
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.states import FINAL, LEGAL, LIVE, State
from worker.jobs.tables import jobs as table
from worker.storage.database import Database

ERROR = {"code": "boom", "message": "It broke.", "param": None}


def submit(jobs: Jobs) -> Job:
    return jobs.submit("default", "training", {"model": "lstm-tiny"})


def bring_to(jobs: Jobs, state: State) -> Job:
    """A job in that state, by the ordinary way."""
    job = submit(jobs)
    if state == "queued":
        return job
    job = run(jobs)
    endings: dict[State, Callable[[], Job]] = {
        "running": lambda: job,
        "paused": lambda: jobs.paused(job),
        "succeeded": lambda: jobs.succeed(job, {}),
        "failed": lambda: jobs.fail(job, ERROR),
        "cancelled": lambda: jobs.cancelled(job),
    }
    return endings[state]()


@pytest.mark.parametrize("to", sorted(LEGAL))
@pytest.mark.parametrize("state", sorted(LEGAL))
def test_the_database_itself_knows_the_legal_moves(
    jobs: Jobs, database: Database, state: State, to: State
) -> None:
    job = bring_to(jobs, state)

    def move() -> None:
        with database.write() as connection:
            connection.execute(sa.update(table).where(table.c.id == job.id).values(state=to))

    legal = to in LEGAL[state] or (to == state and state in LIVE)
    if legal:
        move()
    else:
        with pytest.raises(sa.exc.IntegrityError):
            move()

    assert jobs.get("default", job.id).state == (to if legal else state)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_finished_row_is_never_updated_but_may_go(
    jobs: Jobs, database: Database, state: State
) -> None:
    job = bring_to(jobs, state)

    for column, value in (("phase", "x"), ("event_count", 9), ("tenant", "other"), ("token", 5)):
        with (
            pytest.raises(sa.exc.IntegrityError, match="finished"),
            database.write() as connection,
        ):
            connection.execute(sa.update(table).where(table.c.id == job.id).values({column: value}))
    assert jobs.get("default", job.id) == job

    with database.write() as connection:
        connection.execute(sa.delete(table).where(table.c.id == job.id))
    assert jobs.events("default", job.id) == []


def test_the_whole_way_of_a_job(jobs: Jobs) -> None:
    job = submit(jobs)
    assert (job.state, job.phase, job.token, job.started_at) == ("queued", "queued", 0, None)

    job = run(jobs)
    assert (job.state, job.phase, job.token, job.worker) == ("running", "running", 1, "w1")
    assert job.lease_expires_at is not None and job.started_at is not None

    jobs.request_pause("default", job.id)
    paused = jobs.paused(job)
    assert (paused.state, paused.lease_expires_at, paused.pause_requested_at) == (
        "paused",
        None,
        None,
    )

    assert jobs.resume("default", job.id).state == "queued"
    again = run(jobs, "w2")
    assert (again.token, again.worker, again.started_at) == (2, "w2", job.started_at)

    done = jobs.succeed(again, {"fine_tuned_model": "ft:x"})
    assert (done.state, done.phase, done.result) == (
        "succeeded",
        "succeeded",
        {"fine_tuned_model": "ft:x"},
    )
    assert done.finished_at is not None and done.lease_expires_at is None
    assert events_are_whole(jobs, job.id) == [
        "queued",
        "running",
        "pause_requested",
        "paused",
        "queued",
        "running",
        "succeeded",
    ]


def test_a_failure_says_why(jobs: Jobs) -> None:
    submit(jobs)
    failed = jobs.fail(run(jobs), {**ERROR, "errors": [{"line": 3}]})

    assert (failed.state, failed.phase) == ("failed", "failed")
    assert failed.error == {**ERROR, "errors": [{"line": 3}]}
    event = jobs.events("default", failed.id, newest_first=True, limit=1)[0]
    assert (event.type, event.level, event.message) == ("failed", "error", "It broke.")


def test_a_batch_has_the_phases_that_clients_know(jobs: Jobs) -> None:
    job = jobs.submit("default", "batch", {})
    assert job.phase == "validating"
    claimed = jobs.claim("batch", "w1")
    assert claimed is not None and claimed.phase == "in_progress"

    jobs.set_phase(claimed, "finalizing")
    jobs.set_phase(claimed, "in_progress")
    jobs.set_phase(claimed, "finalizing")
    done = jobs.succeed(claimed, {})

    assert set(done.phase_times) == {"in_progress", "finalizing"}
    assert done.phase_times["in_progress"] == done.started_at


def test_the_phase_of_a_failure_may_be_named(jobs: Jobs) -> None:
    submit(jobs)

    assert jobs.fail(run(jobs), ERROR, phase="expired").phase == "expired"


class TestCancel:
    @pytest.mark.parametrize("state", ["queued", "paused"])
    def test_at_once_where_nobody_works(self, jobs: Jobs, state: State) -> None:
        job = bring_to(jobs, state)

        cancelled = jobs.request_cancel("default", job.id)

        assert cancelled.state == "cancelled"
        assert cancelled.cancel_requested_at is not None and cancelled.finished_at is not None
        assert jobs.claim("training", "w1") is None

    def test_a_running_one_hears_of_it(self, jobs: Jobs) -> None:
        job = bring_to(jobs, "running")
        assert not jobs.heartbeat(job).cancel

        asked = jobs.request_cancel("default", job.id)
        again = jobs.request_cancel("default", job.id)

        assert asked.state == "running" and again == asked
        assert jobs.heartbeat(job).cancel and jobs.signals(job).cancel
        assert jobs.cancelled(job, {"kept": 1}).result == {"kept": 1}
        assert events_are_whole(jobs, job.id).count("cancel_requested") == 1

    def test_the_first_commit_wins(self, jobs: Jobs) -> None:
        job = bring_to(jobs, "running")
        jobs.request_cancel("default", job.id)

        assert jobs.succeed(job, {}).state == "succeeded"
        with pytest.raises(Conflict):
            jobs.request_cancel("default", job.id)
        with pytest.raises(LeaseLost):
            jobs.cancelled(job)

    def test_twice_is_as_once(self, jobs: Jobs) -> None:
        job = bring_to(jobs, "cancelled")

        assert jobs.request_cancel("default", job.id) == job

    @pytest.mark.parametrize("state", ["succeeded", "failed"])
    def test_too_late(self, jobs: Jobs, state: State) -> None:
        job = bring_to(jobs, state)

        with pytest.raises(Conflict) as caught:
            jobs.request_cancel("default", job.id)
        assert caught.value.code == "job_already_finished"

    @pytest.mark.parametrize("let_go", ["requeue", "pause"])
    def test_a_worker_that_lets_go_ends_it(self, jobs: Jobs, let_go: str) -> None:
        job = bring_to(jobs, "running")
        jobs.request_cancel("default", job.id)

        after = jobs.paused(job) if let_go == "pause" else jobs.requeue(job, "drain")

        assert after.state == "cancelled" and after.finished_at is not None


class TestPause:
    def test_a_running_one_hears_of_it(self, jobs: Jobs) -> None:
        job = bring_to(jobs, "running")

        assert jobs.request_pause("default", job.id).state == "running"
        assert jobs.heartbeat(job).pause

    def test_the_wish_can_be_taken_back(self, jobs: Jobs) -> None:
        job = bring_to(jobs, "running")
        jobs.request_pause("default", job.id)

        assert jobs.resume("default", job.id).state == "running"
        assert not jobs.heartbeat(job).pause

    def test_a_worker_that_drains_pauses_it(self, jobs: Jobs) -> None:
        job = bring_to(jobs, "running")
        jobs.request_pause("default", job.id)

        after = jobs.requeue(job, "drain")

        assert (after.state, after.pause_requested_at) == ("paused", None)
        assert jobs.claim("training", "w1") is None

    def test_twice_is_as_once(self, jobs: Jobs) -> None:
        job = bring_to(jobs, "paused")

        assert jobs.request_pause("default", job.id) == job

    @pytest.mark.parametrize("state", ["queued", "succeeded", "failed", "cancelled"])
    def test_only_what_runs(self, jobs: Jobs, state: State) -> None:
        job = bring_to(jobs, state)

        with pytest.raises(Conflict):
            jobs.request_pause("default", job.id)
        assert jobs.get("default", job.id) == job

    @pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed", "cancelled"])
    def test_only_what_is_paused_resumes(self, jobs: Jobs, state: State) -> None:
        job = bring_to(jobs, state)

        with pytest.raises(Conflict):
            jobs.resume("default", job.id)
        assert jobs.get("default", job.id) == job


class TestRetry:
    @pytest.mark.parametrize("state", ["failed", "cancelled"])
    def test_is_a_new_job(self, jobs: Jobs, state: State) -> None:
        job = bring_to(jobs, state)

        new = jobs.retry("default", job.id)

        assert new.id != job.id and new.retry_of == job.id
        assert (new.state, new.spec, new.token) == ("queued", job.spec, 0)
        assert jobs.get("default", job.id) == job

    @pytest.mark.parametrize("state", ["queued", "running", "paused", "succeeded"])
    def test_only_of_what_went_wrong(self, jobs: Jobs, state: State) -> None:
        job = bring_to(jobs, state)

        with pytest.raises(Conflict):
            jobs.retry("default", job.id)


@pytest.mark.parametrize("call", ["request_cancel", "request_pause", "resume", "retry", "get"])
def test_another_tenants_job_is_not_there(jobs: Jobs, call: str) -> None:
    job = bring_to(jobs, "running")

    for tenant, job_id in (("other", job.id), ("default", "ftjob-" + "0" * 26), ("default", "")):
        with pytest.raises(NotFound) as caught:
            getattr(jobs, call)(tenant, job_id)
        assert caught.value.code == "job_not_found"
