"""/jobs: every job of every kind, found, looked at while it runs, and acted upon."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response

from textgen.plan import Plan
from textgen.training.schedule import learning_rate
from web.auth import tenant
from web.pages.job_lists import StateListQuery, render_jobs
from web.pages.job_rows import job_row, name_of
from web.pages.language import _
from web.pages.page import Pages, go, render
from web.pages.words import job_words
from web.schemas.jobs import JobObject
from web.services import current
from web.views import jobs as api
from web.waiting_texts import waiting_text
from worker.errors import Gone
from worker.jobs.rows import Job, JobEvent
from worker.jobs.states import FINAL, PAUSABLE, Kind

job_pages = Pages("job_pages", __name__)

KINDS: tuple[Kind, ...] = ("training", "batch", "scoring", "evaluation", "examination")
RATE_POINTS = 120  # of the learning rate's curve
EVENTS = 50


class JobListQuery(StateListQuery):
    """Also by kind."""

    kind: Kind | None = None


@job_pages.page("GET /jobs", "Jobs, for people", "read", query=JobListQuery)
def index(query: JobListQuery) -> Response:
    """The newest first."""
    return render_jobs("jobs.html", query, query.kind, kinds=KINDS)


@job_pages.page("GET /jobs/<job_id>", "A job, for people", "read")
def show(job_id: str) -> Response:
    """With its curves, samples and events, which arrive while it runs."""
    services = current()
    job = services.jobs.get(tenant(), job_id)
    shown = api.show(job_id)
    waiting = services.jobs.waiting(job) if job.state == "queued" else None
    events: Sequence[JobEvent] | None
    try:
        events = services.jobs.events(tenant(), job_id, limit=EVENTS, newest_first=True)
    except Gone:
        events = None
    return render(
        "job.html",
        job=shown,
        why_waiting=None if waiting is None else waiting_text(waiting, _),
        row=job_row(job),
        name=name_of(job),
        pausable=job.kind in PAUSABLE,
        final=job.state in FINAL,
        events=events,
        plan=None if job.kind != "training" else job.plan,
        rates=learning_rates(job),
        model=None if job.result is None else job.result.get("fine_tuned_model"),
        words=job_words(),
    )


def learning_rates(job: Job) -> list[tuple[int, float]]:
    """The curve that a training's plan lays down: steps with their rates."""
    if job.kind != "training" or job.plan is None:
        return []
    plan = Plan.model_validate(job.plan)
    step = max(1, plan.total_steps // RATE_POINTS)
    corners = {plan.warmup_steps, plan.total_steps - plan.decay_steps, plan.total_steps - 1}
    steps = {*range(0, plan.total_steps, step), *corners}
    return [(each, learning_rate(plan, each)) for each in sorted(steps) if each >= 0]


def _act(answer: JobObject) -> Response:
    """On to the job that an action has answered with."""
    return go("job_pages.show", job_id=answer.id)


@job_pages.page("POST /jobs/<job_id>/cancel", "Cancel a job, by a form", "train", "generate")
def cancel(job_id: str) -> Response:
    """As POST /v1/jobs/{id}/cancel."""
    return _act(api.cancel(job_id))


@job_pages.page("POST /jobs/<job_id>/pause", "Pause a job, by a form", "train", "generate")
def pause(job_id: str) -> Response:
    """As POST /v1/jobs/{id}/pause."""
    return _act(api.pause(job_id))


@job_pages.page("POST /jobs/<job_id>/resume", "Resume a job, by a form", "train", "generate")
def resume(job_id: str) -> Response:
    """As POST /v1/jobs/{id}/resume."""
    return _act(api.resume(job_id))


@job_pages.page("POST /jobs/<job_id>/retry", "Run a job again, by a form", "train", "generate")
def retry(job_id: str) -> Response:
    """As POST /v1/jobs/{id}/retry: on to the new job."""
    return _act(api.retry(job_id))
