"""/v1/batches: many completion requests in one file."""

from __future__ import annotations

from typing import Any

from flask import Response

from web.auth import tenant
from web.batch_results import send_results
from web.batch_retries import store_failed_lines
from web.batch_views import batch_view
from web.file_references import reference
from web.job_lookup import cancel_of_kind, job_of_kind, page_of_kind
from web.resource import Resource
from web.schemas.base import Body, PageQuery
from web.schemas.batches import BatchBody, BatchList, BatchObject
from web.services import Services, current
from web.submission import accept
from worker.batches.shard import ERROR_FILE, OUTPUT_FILE
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
    return BatchList.model_construct(**page_of_kind(KIND, query, batch_view))


@batches.on("GET /v1/batches/<batch_id>", "Show a batch", "read", answer=BatchObject)
def show(batch_id: str) -> BatchObject:
    """One batch."""
    return batch_view(_batch(current(), batch_id))


@batches.on("POST /v1/batches/<batch_id>/cancel", "Cancel a batch", "generate", answer=BatchObject)
def cancel(batch_id: str) -> BatchObject:
    """Waits up to five seconds for the end; what is finished by then is kept."""
    return batch_view(cancel_of_kind(batch_id, KIND, "batch_id"))


@batches.on(
    "POST /v1/batches/<batch_id>/retry_failed",
    "Run a batch's failed lines again",
    "generate",
    answer=BatchObject,
)
def retry_failed(batch_id: str) -> BatchObject:
    """A new batch of the lines that failed, or that a cancelled one did not come to.

    The lines, under the same ids, become a file of their own. 409 where there are none.
    """
    services, owner = current(), tenant()
    old = _batch(services, batch_id)
    file = store_failed_lines(services, old)
    try:
        spec = {**old.spec, "input_file": reference(services, owner, file.id, "batch_id", "batch")}
        job = accept(
            services,
            owner,
            kind=KIND,
            spec=spec,
            files=[file.id],
            metadata=old.metadata,
            body=Body(),
            repeats=old.id,
        )
    except BaseException:
        services.files.delete(owner, file.id)
        raise
    if job.spec["input_file"]["id"] != file.id:  # the request came twice, and has its batch
        services.files.delete(owner, file.id)
    return batch_view(job)


@batches.on(
    "GET /v1/batches/<batch_id>/output",
    "Download a batch's answers so far",
    "read",
    media=("application/octet-stream",),
)
def output(batch_id: str) -> Response:
    """While it runs those of its finished parts, 512 lines each, in the order of the input."""
    services = current()
    return send_results(services, _batch(services, batch_id), OUTPUT_FILE)


@batches.on(
    "GET /v1/batches/<batch_id>/errors",
    "Download a batch's failed lines so far",
    "read",
    media=("application/octet-stream",),
)
def errors(batch_id: str) -> Response:
    """As its answers."""
    services = current()
    return send_results(services, _batch(services, batch_id), ERROR_FILE)


def _batch(services: Services, batch_id: str) -> Job:
    return job_of_kind(services, batch_id, KIND, "batch_id")
