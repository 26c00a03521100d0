"""Scorings and evaluations live as other jobs do, with training workers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.conftest import events_are_whole, run
from worker.backend import Backend
from worker.errors import Conflict
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.states import Kind
from worker.processes.service import CHILD_RUNS
from worker.storage.models import NewModel, add_model

KINDS: tuple[Kind, ...] = ("scoring", "evaluation", "examination")
ERROR = {"code": "boom", "message": "It broke.", "param": None}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_worker_takes_it(jobs: Jobs, kind: Kind) -> None:
    training = jobs.submit("default", "training", {})
    job = jobs.submit("default", kind, {"model": "m"})
    assert (job.queue, job.phase) == ("training", "queued")

    assert run(jobs).id == training.id
    claimed = run(jobs)

    assert (claimed.id, claimed.kind, claimed.phase) == (job.id, kind, "running")
    assert set(CHILD_RUNS) == {"training", *KINDS}
    jobs.succeed(claimed, {"summary": {}})
    assert [found.id for found in jobs.list("default", kind=kind).items] == [job.id]
    assert events_are_whole(jobs, job.id) == ["queued", "running", "succeeded"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_lost_goes_back_and_may_be_tried_again(
    jobs: Jobs, expire: Callable[[Job], None], kind: Kind
) -> None:
    jobs.submit("default", kind, {"model": "m"}, metadata={"a": "b"})
    expire(run(jobs))
    (lost,) = jobs.recover_expired()
    assert (lost.state, lost.phase, lost.losses) == ("queued", "queued", 1)
    jobs.fail(run(jobs), ERROR)

    again = jobs.retry("default", lost.id)

    assert (again.kind, again.retry_of, again.metadata) == (kind, lost.id, {"a": "b"})
    assert again.id.startswith(
        {"scoring": "score-", "evaluation": "eval-", "examination": "exam-"}[kind]
    )


def test_a_scoring_can_be_paused_and_an_evaluation_cannot(jobs: Jobs) -> None:
    for kind in KINDS:
        jobs.submit("default", kind, {})
    scoring, evaluation = run(jobs), run(jobs)

    assert jobs.request_pause("default", scoring.id).pause_requested_at is not None
    with pytest.raises(Conflict, match="cancel") as refused:
        jobs.request_pause("default", evaluation.id)

    assert refused.value.code == "job_not_pausable"
    assert not jobs.signals(evaluation).pause


def test_a_model_that_is_measured_cannot_be_deleted(backend: Backend) -> None:
    model = NewModel(id="ft:x", owned_by="default", artifact="jobs/j/1/model", file="m")
    with backend.database.write() as connection:
        add_model(connection, "default", model, backend.database.now(connection))
    backend.jobs.submit("default", "evaluation", {}, uses_models=["ft:x"])

    with pytest.raises(Conflict, match="used by the job eval-"):
        backend.models.delete("default", "ft:x")

    backend.jobs.succeed(run(backend.jobs), {})
    backend.models.delete("default", "ft:x")
