"""/v1/fine_tuning/jobs: trainings, as OpenAI words them."""

from __future__ import annotations

from web.auth import tenant
from web.job_lookup import cancel_of_kind, job_of_kind
from web.job_waits import rests, wait_until
from web.resource import Resource
from web.schemas.base import MetadataPageQuery, PageQuery
from web.schemas.fine_tuning import (
    CheckpointList,
    CheckpointQuery,
    FineTuningEventList,
    FineTuningJob,
    FineTuningJobList,
    TrainingBody,
)
from web.services import Services, current
from web.submission import accept
from web.training_specs import files_of, models_of, training_spec
from web.training_views import checkpoint_view, event_number, event_view, training_view
from worker.jobs.rows import Job
from worker.jobs.states import Kind

fine_tuning = Resource("fine_tuning", __name__)
ROOT = "/v1/fine_tuning/jobs"
KIND: Kind = "training"


@fine_tuning.on(
    f"POST {ROOT}", "Start a training", "train", body=TrainingBody, answer=FineTuningJob
)
def create(body: TrainingBody) -> FineTuningJob:
    """From a preset, or from a trained model to continue with."""
    services = current()
    spec = training_spec(services, tenant(), body)
    job = accept(
        services,
        tenant(),
        kind=KIND,
        spec=spec,
        files=files_of(spec),
        models=models_of(spec),
        metadata=body.metadata,
        body=body,
    )
    return training_view(job)


@fine_tuning.on(
    f"GET {ROOT}", "List trainings", "read", query=MetadataPageQuery, answer=FineTuningJobList
)
def index(query: MetadataPageQuery) -> FineTuningJobList:
    """Newest first."""
    page = current().jobs.list(
        tenant(), kind=KIND, after=query.after, limit=query.limit, metadata=query.metadata
    )
    return FineTuningJobList.model_construct(
        data=[training_view(job) for job in page.items], has_more=page.has_more
    )


@fine_tuning.on(f"GET {ROOT}/<job_id>", "Show a training", "read", answer=FineTuningJob)
def show(job_id: str) -> FineTuningJob:
    """One training."""
    return training_view(_training(current(), job_id))


@fine_tuning.on(f"POST {ROOT}/<job_id>/cancel", "Cancel a training", "train", answer=FineTuningJob)
def cancel(job_id: str) -> FineTuningJob:
    """Waits up to five seconds for the end; after that it still comes."""
    return training_view(cancel_of_kind(job_id, KIND, "job_id"))


@fine_tuning.on(f"POST {ROOT}/<job_id>/pause", "Pause a training", "train", answer=FineTuningJob)
def pause(job_id: str) -> FineTuningJob:
    """It keeps a checkpoint, to go on from."""
    services = current()
    _training(services, job_id)
    job = services.jobs.request_pause(tenant(), job_id)
    return training_view(wait_until(services, job, rests))


@fine_tuning.on(f"POST {ROOT}/<job_id>/resume", "Resume a training", "train", answer=FineTuningJob)
def resume(job_id: str) -> FineTuningJob:
    """A paused training goes back to the queue."""
    services = current()
    _training(services, job_id)
    job = services.jobs.resume(tenant(), job_id)
    services.wakeups.publish(job.queue)
    return training_view(job)


@fine_tuning.on(
    f"GET {ROOT}/<job_id>/events",
    "List a training's events",
    "read",
    query=PageQuery,
    answer=FineTuningEventList,
)
def events(job_id: str, query: PageQuery) -> FineTuningEventList:
    """Newest first; the next page is what is older than ``after``."""
    services = current()
    _training(services, job_id)
    after = 0 if query.after is None else event_number(query.after)
    found = services.jobs.events(
        tenant(), job_id, after=after, limit=query.limit + 1, newest_first=True
    )
    return FineTuningEventList.model_construct(
        data=[event_view(event) for event in found[: query.limit]],
        has_more=len(found) > query.limit,
    )


@fine_tuning.on(
    f"GET {ROOT}/<job_id>/checkpoints",
    "List a training's checkpoints",
    "read",
    query=CheckpointQuery,
    answer=CheckpointList,
)
def checkpoints(job_id: str, query: CheckpointQuery) -> CheckpointList:
    """Newest first; each can already generate."""
    services = current()
    _training(services, job_id)
    page = services.jobs.checkpoints(tenant(), job_id, after=query.after, limit=query.limit)
    data = [checkpoint_view(checkpoint) for checkpoint in page.items]
    return CheckpointList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


def _training(services: Services, job_id: str) -> Job:
    return job_of_kind(services, job_id, KIND, "job_id")
