"""Jobs in the native view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.schemas.jobs import JobCost as JobCostShape
from web.schemas.jobs import JobList, JobObject
from web.schemas.jobs import Waiting as WaitingShape
from web.training_views import error_view
from web.waiting_texts import waiting_text
from worker.billing.costs import JobCost
from worker.jobs.rows import Job, Waiting
from worker.storage.pages import Page

INTERNAL = ("artifact", "file")  # where things lie in storage is nobody's business


def job_view(job: Job, waiting: Waiting | None = None, cost: JobCost | None = None) -> JobObject:
    """A job with all that is known about it."""
    return JobObject.model_construct(
        id=job.id,
        kind=job.kind,
        state=job.state,
        phase=job.phase,
        waiting=None if waiting is None else _waiting(waiting),
        progress=dict(job.progress),
        result=job.result,
        error=error_view(job),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested=job.cancel_requested_at is not None,
        pause_requested=job.pause_requested_at is not None,
        attempts=job.attempts,
        losses=job.losses,
        priority=job.priority,
        retry_of=job.retry_of,
        request_id=job.request_id,
        cost=None if cost is None else _cost(cost),
        metadata=dict(job.metadata),
        spec=_without_places(job.spec),
        plan=job.plan if job.kind == "training" else None,
    )


def _waiting(waiting: Waiting) -> WaitingShape:
    start, hold = waiting.estimated_start, waiting.hold
    return WaitingShape.model_construct(
        reason=waiting.reason,
        hold=None if hold is None else "suspended" if hold.suspended else "running_jobs",
        message=waiting_text(waiting),
        position=waiting.position,
        estimated_start=None if start is None else int(start),
    )


def _cost(cost: JobCost) -> JobCostShape:
    return JobCostShape(
        currency=cost.currency, estimate=float(cost.estimate), so_far=float(cost.so_far)
    )


def _without_places(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification without its references into storage."""
    return {key: _shown(value) for key, value in spec.items() if key not in INTERNAL}


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_places(value)
    return [_shown(inner) for inner in value] if isinstance(value, list) else value


def job_page(page: Page[Job]) -> JobList:
    """A page of jobs."""
    data = [job_view(job) for job in page.items]
    return JobList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )
