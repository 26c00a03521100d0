"""Checkpoints: the resume pointer, the three that are kept, those published as models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.conftest import run
from worker.backend import Backend
from worker.errors import NotFound
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.storage.models import NewModel, add_model


def start(jobs: Jobs) -> Job:
    jobs.submit("default", "training", {})
    return run(jobs)


def save(jobs: Jobs, job: Job, step: int, publish_model: NewModel | None = None) -> tuple[str, ...]:
    return jobs.save_checkpoint(
        job,
        artifact=f"jobs/{job.id}/{job.token}/step-{step}",
        file="checkpoint.safetensors",
        step=step,
        metrics={"valid_loss": 1.5},
        publish_model=publish_model,
    )


def model_of(job: Job, step: int) -> NewModel:
    return NewModel(
        id=f"ft:x:ckpt-step-{step}",
        owned_by="default",
        artifact=f"jobs/{job.id}/{job.token}/step-{step}",
        file="checkpoint.safetensors",
        base="lstm-tiny",
        header={"parameters": 5},
    )


def test_the_newest_three_are_kept(jobs: Jobs) -> None:
    job = start(jobs)

    dropped = [save(jobs, job, step) for step in (10, 20, 30, 40, 50)]

    kept = jobs.get("default", job.id)
    assert [pointer["step"] for pointer in kept.checkpoint_history] == [50, 40, 30]
    assert kept.checkpoint == kept.checkpoint_history[0]
    assert kept.checkpoint["file"] == "checkpoint.safetensors"
    assert [[name.rpartition("-")[2] for name in names] for names in dropped] == [
        [],
        [],
        [],
        ["10"],
        ["20"],
    ]


def test_again_is_as_once(jobs: Jobs) -> None:
    """The reply of a COMMIT may be lost, and the caller tries again."""
    job = start(jobs)
    for step in (10, 20, 20, 20):
        assert save(jobs, job, step) == ()

    history = jobs.get("default", job.id).checkpoint_history
    assert [pointer["step"] for pointer in history] == [20, 10]


def test_the_next_worker_goes_on_from_it(jobs: Jobs) -> None:
    job = start(jobs)
    save(jobs, job, 10)
    jobs.requeue(job, "drain")

    assert run(jobs).checkpoint == {
        "artifact": f"jobs/{job.id}/1/step-10",
        "file": "checkpoint.safetensors",
        "step": 10,
    }


def models_of(backend: Backend) -> list[str]:
    return [model.id.rpartition("-")[2] for model in backend.models.list("default")]


def test_they_are_models_while_they_are_kept(backend: Backend) -> None:
    jobs = backend.jobs
    job = start(jobs)

    dropped = [save(jobs, job, step, model_of(job, step)) for step in (10, 20, 30, 40)]

    assert models_of(backend) == ["40", "30", "20"]
    assert dropped[-1] == (f"jobs/{job.id}/1/step-10",)
    assert [each.step for each in jobs.checkpoints("default", job.id).items] == [40, 30, 20]
    model = backend.models.get("default", "ft:x:ckpt-step-40")
    assert (model.job_id, model.artifact) == (job.id, f"jobs/{job.id}/1/step-40")


def test_one_that_an_alias_names_stays(backend: Backend) -> None:
    jobs = backend.jobs
    job = start(jobs)
    save(jobs, job, 10, model_of(job, 10))
    backend.models.set_alias("default", "bot", "ft:x:ckpt-step-10")

    dropped = [save(jobs, job, step, model_of(job, step)) for step in (20, 30, 40, 50)]

    assert models_of(backend) == ["50", "40", "30", "10"]
    assert dropped == [(), (), (), (f"jobs/{job.id}/1/step-20",)]


def test_one_that_a_live_job_uses_stays(backend: Backend) -> None:
    jobs = backend.jobs
    job = start(jobs)
    save(jobs, job, 10, model_of(job, 10))
    jobs.submit("default", "batch", {}, uses_models=["ft:x:ckpt-step-10"])

    for step in (20, 30, 40, 50):
        save(jobs, job, step, model_of(job, step))

    assert models_of(backend) == ["50", "40", "30", "10"]


def test_a_step_that_is_reached_again_takes_the_place_of_the_first(backend: Backend) -> None:
    """Its COMMIT's reply was lost, or the training went back behind it."""
    jobs = backend.jobs
    job = start(jobs)
    for _ in range(2):
        save(jobs, job, 10, model_of(job, 10))
    jobs.requeue(job, "drain")
    job = run(jobs)

    save(jobs, job, 10, model_of(job, 10))

    assert models_of(backend) == ["10"]
    assert backend.models.get("default", "ft:x:ckpt-step-10").artifact.endswith("/2/step-10")
    assert len(jobs.checkpoints("default", job.id).items) == 1


def test_published_ones_are_listed_newest_first(jobs: Jobs) -> None:
    job = start(jobs)
    for step in (10, 20, 30):
        save(jobs, job, step, model_of(job, step))

    first = jobs.checkpoints("default", job.id, limit=2)
    second = jobs.checkpoints("default", job.id, limit=2, after=first.items[-1].id)

    assert [checkpoint.step for checkpoint in first.items] == [30, 20] and first.has_more
    assert [checkpoint.step for checkpoint in second.items] == [10] and not second.has_more
    checkpoint = first.items[0]
    assert checkpoint.id.startswith("ftckpt_")
    assert checkpoint.metrics == {"valid_loss": 1.5}
    assert checkpoint.model_id == "ft:x:ckpt-step-30"
    assert jobs.checkpoints("other", job.id).items == []


def test_a_training_stands_for_its_newest_checkpoint_and_then_for_its_model(
    backend: Backend,
) -> None:
    jobs, models = backend.jobs, backend.models
    job = start(jobs)
    with pytest.raises(NotFound, match="no checkpoint yet"):
        models.resolve("default", job.id)

    for step in (900, 1000):  # as numbers, not as words
        save(jobs, job, step, model_of(job, step))
    assert models.resolve("default", job.id).id == "ft:x:ckpt-step-1000"
    with pytest.raises(NotFound):
        models.resolve("other", job.id)

    assert models.resolve("default", f"{job.id}:best").file == "checkpoint.safetensors"
    newest = model_of(job, 1100)
    told = {"file": "best", "metrics": {"valid_loss": 1.25}}
    save(jobs, job, 1100, replace(newest, header={**newest.header, "best": told}))
    best = models.resolve("default", f"{job.id}:best")
    assert (best.id, best.artifact, best.file) == (newest.id, newest.artifact, "best")
    assert best.header["metrics"] == {"valid_loss": 1.25}
    assert models.resolve("default", job.id).file == newest.file

    final = NewModel(id="ft:x", owned_by="default", artifact="jobs/j/1/model", file="m")
    with backend.database.write() as connection:
        now = backend.database.now(connection)
        add_model(connection, "default", final, now - 3600, job_id=job.id)
    assert models.resolve("default", job.id).id == "ft:x"
