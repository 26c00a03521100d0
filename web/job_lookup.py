"""The tenant's jobs of one kind, under the noun of that kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from web.auth import tenant
from web.job_waits import has_ended, wait_until
from web.schemas.base import MetadataPageQuery, PageQuery
from web.services import Services, current
from worker.errors import NotFound
from worker.jobs.rows import Job
from worker.jobs.states import Kind


def job_of_kind(services: Services, job_id: str, kind: Kind, param: str) -> Job:
    """The tenant's job; raises NotFound, also where it is of another kind."""
    job = services.jobs.get(tenant(), job_id)
    if job.kind != kind:
        raise NotFound(
            f"{job_id!r} is a job of the kind {job.kind}, not {kind}; see /v1/jobs/{job_id}.",
            code=f"{param.removesuffix('_id')}_not_found",
            param=param,
        )
    return job


def page_of_kind(kind: Kind, query: PageQuery, view: Callable[[Job], Any]) -> dict[str, Any]:
    """The fields of a page of jobs, the newest first."""
    metadata = query.metadata if isinstance(query, MetadataPageQuery) else None
    page = current().jobs.list(
        tenant(), kind=kind, after=query.after, limit=query.limit, metadata=metadata
    )
    data = [view(job) for job in page.items]
    return {
        "data": data,
        "first_id": data[0].id if data else None,
        "last_id": data[-1].id if data else None,
        "has_more": page.has_more,
    }


def cancel_of_kind(job_id: str, kind: Kind, param: str) -> Job:
    """Ask for the end of a job, and wait for it a little; after that it still comes."""
    services = current()
    job_of_kind(services, job_id, kind, param)
    job = services.jobs.request_cancel(tenant(), job_id)
    return wait_until(services, job, has_ended)
