"""Trainings as OpenAI shows them: made from the job's row and its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textgen.errors import InvalidInput
from web.schemas.base import JobError
from web.schemas.fine_tuning import (
    CheckpointMetrics,
    CheckpointObject,
    FineTuningEvent,
    FineTuningJob,
    MethodView,
    TrainingStatus,
)
from worker.jobs.rows import Checkpoint, Job, JobEvent

AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
EVENT_PREFIX = "ftevent-"


def training_view(job: Job) -> FineTuningJob:
    """The whole object."""
    result: Mapping[str, Any] = {} if job.result is None else job.result
    spec = job.spec
    hyperparameters = chosen(job)
    validation, test, embeddings = (
        (spec.get(field) or {}).get("id")
        for field in ("validation_file", "test_file", "embeddings_file")
    )
    replay = spec.get("replay") or {"files": []}
    return FineTuningJob.model_construct(
        id=job.id,
        created_at=int(job.created_at),
        finished_at=None if job.finished_at is None else int(job.finished_at),
        estimated_finish=estimated_finish(job),
        status=status(job),
        error=error_view(job),
        model=spec["model"],
        fine_tuned_model=result.get("fine_tuned_model"),
        organization_id=job.tenant,
        training_file=spec["training_file"],
        training_files=[file["id"] for file in spec["files"][1:]],
        validation_file=validation,
        test_file=test,
        embeddings_file=embeddings,
        replay_files=[file["id"] for file in replay["files"]],
        result_files=result.get("result_files", []),
        trained_tokens=result.get("trained_tokens"),
        seed=spec["seed"],
        hyperparameters=hyperparameters,
        method=MethodView.model_construct(supervised={"hyperparameters": hyperparameters}),
        metadata=dict(job.metadata),
        integrations=[],
        progress=dict(job.progress),
    )


def status(job: Job) -> TrainingStatus:
    """OpenAI's word for the state: a queued job's files are looked at first."""
    if job.state == "queued" and job.phase == "validating":
        return "validating_files"
    found: TrainingStatus = job.state
    return found


def chosen(job: Job) -> dict[str, Any]:
    """What was asked for, and what the plan has settled of the rest."""
    settled = {} if job.plan is None else {"batch_size": job.plan.get("batch_size", "auto")}
    return {**AUTO, **settled, **job.spec["hyperparameters"]}


def estimated_finish(job: Job) -> int | None:
    """Seconds since 1970; known while the job runs."""
    left, at = job.progress.get("seconds_left"), job.progress.get("at")
    if job.state != "running" or left is None:
        return None
    began = job.started_at if at is None else at
    return None if began is None else int(began + left)


def error_view(job: Job) -> JobError | None:
    """Why the job failed, in the three fields clients know, and the request that made it."""
    if job.error is None:
        return None
    return JobError(
        code=str(job.error.get("code", "failed")),
        message=str(job.error.get("message", "")),
        param=job.error.get("param"),
        request_id=job.request_id,
    )


def event_view(event: JobEvent) -> FineTuningEvent:
    """An event; its id names the job, so that it is one of a kind."""
    return FineTuningEvent.model_construct(
        id=f"{EVENT_PREFIX}{event.job_id.removeprefix('ftjob-')}-{event.id}",
        created_at=int(event.created_at),
        level=event.level,
        message=event.message,
        type="metrics" if event.type == "metrics" else "message",
        data=dict(event.data),
    )


def event_number(identity: str) -> int:
    """The number of an event within its job, from the id shown; raises InvalidInput."""
    number = identity.rpartition("-")[2]
    if not number.isdecimal() or not 0 < len(number) < 16:
        raise InvalidInput(f"'after' is {identity[:80]!r}, which is no event's id.", param="after")
    return int(number)


def checkpoint_view(checkpoint: Checkpoint) -> CheckpointObject:
    """A checkpoint that can generate."""
    return CheckpointObject.model_construct(
        id=checkpoint.id,
        created_at=int(checkpoint.created_at),
        fine_tuned_model_checkpoint=checkpoint.model_id,
        fine_tuning_job_id=checkpoint.job_id,
        step_number=checkpoint.step,
        metrics=CheckpointMetrics.model_construct(
            **{"step": checkpoint.step, **checkpoint.metrics}
        ),
    )
