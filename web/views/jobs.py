"""/v1/jobs: every job of every kind, with all that is known about it."""

from __future__ import annotations

from flask import Response, request

from textgen.errors import InvalidInput
from web.auth import key, tenant
from web.job_views import job_page, job_view
from web.job_waits import has_ended, rests, wait_until
from web.live.looks import event_view
from web.live.watches import JobWatch
from web.pages.language import language
from web.resource import Resource, json_answer
from web.schemas.jobs import EventQuery, JobEventList, JobList, JobObject, JobQuery
from web.services import current
from web.submission import again
from worker.training.tensorboard import event_file

jobs = Resource("jobs", __name__)


@jobs.on("GET /v1/jobs", "List jobs of every kind", "read", query=JobQuery, answer=JobList)
def index(query: JobQuery) -> JobList:
    """Newest first."""
    page = current().jobs.list(
        tenant(),
        kind=query.kind,
        states=None if query.state is None else [query.state],
        after=query.after,
        limit=query.limit,
    )
    return job_page(page)


@jobs.on("GET /v1/jobs/<job_id>", "Show a job", "read", answer=JobObject)
def show(job_id: str) -> JobObject:
    """With the reason why it waits, where it does, and what it costs, where that is known."""
    services = current()
    job = services.jobs.get(tenant(), job_id)
    cost = None
    if services.terms.prices.lists:
        cost = services.budgets.costs.of_job(job, services.tenants.known(tenant()).currency)
    return job_view(job, services.jobs.waiting(job) if job.state == "queued" else None, cost)


@jobs.on("POST /v1/jobs/<job_id>/cancel", "Cancel a job", "train", "generate", answer=JobObject)
def cancel(job_id: str) -> JobObject:
    """Waits up to five seconds for the end; after that it still comes."""
    services = current()
    job = services.jobs.request_cancel(tenant(), job_id)
    return job_view(wait_until(services, job, has_ended))


@jobs.on("POST /v1/jobs/<job_id>/pause", "Pause a job", "train", "generate", answer=JobObject)
def pause(job_id: str) -> JobObject:
    """A running job keeps a checkpoint and lets go of its worker."""
    services = current()
    job = services.jobs.request_pause(tenant(), job_id)
    return job_view(wait_until(services, job, rests))


@jobs.on("POST /v1/jobs/<job_id>/resume", "Resume a job", "train", "generate", answer=JobObject)
def resume(job_id: str) -> JobObject:
    """A paused job goes back to the queue."""
    services = current()
    job = services.jobs.resume(tenant(), job_id)
    services.wakeups.publish(job.queue)
    return job_view(job)


@jobs.on("POST /v1/jobs/<job_id>/retry", "Run a job again", "train", "generate", answer=JobObject)
def retry(job_id: str) -> JobObject:
    """A job that failed or was cancelled comes back as a new one, with ``retry_of``, and is
    admitted as one: by queue, quotas and budget.
    """
    return job_view(again(current(), tenant(), job_id))


@jobs.on(
    "GET /v1/jobs/<job_id>/events",
    "List or follow a job's events",
    "read",
    query=EventQuery,
    answer=JobEventList,
    media=("application/json", "text/event-stream"),
)
def events(job_id: str, query: EventQuery) -> Response:
    """``stream=true`` follows until the job's end; Last-Event-ID goes on where one broke off.

    A stream tells its messages in the language of ``Accept-Language``, a list has them in English.

    410 ``events_removed`` where events that were asked for are kept no longer.
    """
    services, owner = current(), tenant()
    services.jobs.get(owner, job_id)
    if query.stream:
        seen = _last_seen(query)
        services.jobs.events(owner, job_id, after=seen, limit=1)  # or they are gone
        watch = JobWatch(key(), job_id, seen, progress=query.progress, language=language())
        return services.hub.respond(watch, services.streams.take_for(owner).free)
    found = services.jobs.events(owner, job_id, after=query.after, limit=query.limit + 1)
    return json_answer(
        JobEventList.model_construct(
            data=[event_view(event) for event in found[: query.limit]],
            has_more=len(found) > query.limit,
        )
    )


@jobs.on(
    "GET /v1/jobs/<job_id>/tensorboard",
    "The measurements of a training, for TensorBoard",
    "read",
    media=("application/octet-stream",),
)
def tensorboard(job_id: str) -> Response:
    """All that were made until now, also of a training that runs or has failed."""
    services, owner = current(), tenant()
    job = services.jobs.get(owner, job_id)
    if job.kind != "training":
        raise InvalidInput(
            f"{job_id} is a {job.kind}; only trainings have measurements for TensorBoard.",
            code="job_not_a_training",
            param="job_id",
        )
    content = b"".join(event_file(services.jobs.all_events(owner, job_id)))
    answer = Response(content, mimetype="application/octet-stream")
    name = f"events.out.tfevents.{int(job.created_at)}.{job_id}"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _last_seen(query: EventQuery) -> int:
    header = request.headers.get("Last-Event-ID", "")
    if not header:
        return query.after
    if not header.isdecimal() or len(header) > 15:
        raise InvalidInput(
            f"Last-Event-ID is {header[:40]!r}; it must be an event's number.",
            param="Last-Event-ID",
        )
    return int(header)
