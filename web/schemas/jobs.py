"""The native view of every job of every kind."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.schemas.base import JobError, PageQuery, Query, Shape
from worker.jobs.states import Kind

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Reason = Literal["behind_others", "quota", "no_worker", "does_not_fit"]


class JobQuery(PageQuery):
    """A page of jobs."""

    kind: Kind | None = None
    state: State | None = None


class EventQuery(Query):
    """Which events, oldest first; ``stream=true`` follows them as server-sent events."""

    after: int = Field(0, ge=0, le=2**53, description="number of the last event already seen")
    limit: int = Field(100, ge=1, le=1000)
    stream: bool = False
    progress: bool = Field(
        False, description="of a stream: also each change of state and progress, without an id"
    )


class Waiting(Shape):
    """Why a queued job has not started; ``estimated_start`` is seconds since 1970."""

    reason: Reason
    hold: Literal["suspended", "running_jobs"] | None = Field(
        None, description="of the reason `quota`: what holds the project's jobs back"
    )
    message: str = Field(description="the reason in words, and what ends it")
    position: int | None = Field(
        None,
        description="how many jobs of all projects go before, counted up to 1,000; 0: it is next",
    )
    estimated_start: int | None = None


class JobCost(Shape):
    """In units of the project's currency: what was set aside, and what the job costs so far."""

    currency: str
    estimate: float
    so_far: float


class JobObject(Shape):
    """A job: ``attempts`` counts retries after transient errors, ``losses`` lost workers."""

    id: str
    object: Literal["job"] = "job"
    kind: str
    state: State
    phase: str | None
    waiting: Waiting | None = None
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: JobError | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    cancel_requested: bool
    pause_requested: bool
    attempts: int
    losses: int
    priority: int
    retry_of: str | None
    request_id: str | None = Field(None, description="of the request that made it")
    cost: JobCost | None = Field(None, description="where the operator has a price sheet")
    metadata: dict[str, Any]
    spec: dict[str, Any] = Field(description="what was asked for")
    plan: dict[str, Any] | None = Field(description="what a training settled on before step 1")


class JobList(Shape):
    """A page of jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[JobObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class JobEvent(Shape):
    """Something that happened; ``id`` counts from 1 within the job."""

    id: int
    object: Literal["job.event"] = "job.event"
    job_id: str
    created_at: float
    level: Literal["info", "warn", "error"]
    type: str
    message: str
    data: dict[str, Any]


class JobEventList(Shape):
    """Events of a job, oldest first."""

    object: Literal["list"] = "list"
    data: list[JobEvent]
    has_more: bool
