"""/v1/batches: many completion requests in one file."""

from __future__ import annotations

from typing import Any

from web.auth import tenant
from web.batch_views import batch_view
from web.file_references import reference
from web.job_lookup import job_of_kind
from web.job_waits import has_ended, wait_until
from web.resource import Resource
from web.schemas.base import PageQuery
from web.schemas.batches import BatchBody, BatchList, BatchObject
from web.services import Services, current
from web.submission import accept
from worker.jobs.rows import Job
from worker.jobs.states import Kind

batches = Resource("batches", __name__)
KIND: Kind = "batch"


@batches.on("POST /v1/batches", "Start a batch", "generate", body=BatchBody, answer=BatchObject)
def create(body: BatchBody) -> BatchObject:
    """A file that cannot be run makes the batch fail, with the lines that are to blame."""
    services, owner = current(), tenant()
    file = reference(services, owner, body.input_file_id, "input_file_id", "batch")
    spec: dict[str, Any] = {
        "endpoint": body.endpoint,
        "input_file": file,
        "completion_window": body.completion_window,
    }
    if body.output_expires_after is not None:
        spec["output_expires_seconds"] = body.output_expires_after.seconds
    job = accept(
        services,
        owner,
        kind=KIND,
        spec=spec,
        files=[file["id"]],
        metadata=body.metadata,
        body=body,
    )
    return batch_view(job)


@batches.on("GET /v1/batches", "List batches", "read", query=PageQuery, answer=BatchList)
def index(query: PageQuery) -> BatchList:
    """Newest first."""
    page = current().jobs.list(tenant(), kind=KIND, after=query.after, limit=query.limit)
    data = [batch_view(job) for job in page.items]
    return BatchList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@batches.on("GET /v1/batches/<batch_id>", "Show a batch", "read", answer=BatchObject)
def show(batch_id: str) -> BatchObject:
    """One batch."""
    return batch_view(_batch(current(), batch_id))


@batches.on("POST /v1/batches/<batch_id>/cancel", "Cancel a batch", "generate", answer=BatchObject)
def cancel(batch_id: str) -> BatchObject:
    """Waits up to five seconds for the end; what is finished by then is kept."""
    services = current()
    _batch(services, batch_id)
    job = services.jobs.request_cancel(tenant(), batch_id)
    return batch_view(wait_until(services, job, has_ended))


def _batch(services: Services, batch_id: str) -> Job:
    return job_of_kind(services, batch_id, KIND, "batch_id")
