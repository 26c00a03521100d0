"""A job by its id, under the noun of its kind."""

from __future__ import annotations

from web.auth import tenant
from web.services import Services
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
