"""/v1/examinations: what `textgen doctor` says of a text, for a file of the service."""

from __future__ import annotations

from web.auth import tenant
from web.file_references import reference
from web.job_lookup import cancel_of_kind, job_of_kind, page_of_kind
from web.resource import Resource
from web.schemas.base import MetadataPageQuery
from web.schemas.examinations import ExaminationBody, ExaminationList, ExaminationObject
from web.schemas.measurements import TEXT_PURPOSES, reading_of
from web.services import current
from web.submission import accept
from web.training_views import error_view
from worker.jobs.rows import Job
from worker.jobs.states import Kind

examinations = Resource("examinations", __name__)
ROOT = "/v1/examinations"
KIND: Kind = "examination"


@examinations.on(
    f"POST {ROOT}", "Look a text over", "train", body=ExaminationBody, answer=ExaminationObject
)
def create(body: ExaminationBody) -> ExaminationObject:
    """A text that cannot be trained on makes it fail, saying why."""
    services = current()
    file = reference(services, tenant(), body.file, "file", *TEXT_PURPOSES)
    spec = {"input_file": file, "reading": reading_of(body), "seconds": body.seconds}
    job = accept(
        services,
        tenant(),
        kind=KIND,
        spec=spec,
        files=[file["id"]],
        metadata=body.metadata,
        body=body,
    )
    return view(job)


@examinations.on(
    f"GET {ROOT}", "List examinations", "read", query=MetadataPageQuery, answer=ExaminationList
)
def index(query: MetadataPageQuery) -> ExaminationList:
    """Newest first."""
    return ExaminationList.model_construct(**page_of_kind(KIND, query, view))


@examinations.on(
    f"GET {ROOT}/<examination_id>", "Show an examination", "read", answer=ExaminationObject
)
def show(examination_id: str) -> ExaminationObject:
    """One examination."""
    return view(job_of_kind(current(), examination_id, KIND, "examination_id"))


@examinations.on(
    f"POST {ROOT}/<examination_id>/cancel",
    "Cancel an examination",
    "train",
    answer=ExaminationObject,
)
def cancel(examination_id: str) -> ExaminationObject:
    """Waits up to five seconds for the end; after that it still comes."""
    return view(cancel_of_kind(examination_id, KIND, "examination_id"))


def view(job: Job) -> ExaminationObject:
    """The whole object."""
    return ExaminationObject.model_construct(
        id=job.id,
        status=job.state,
        file=job.spec["input_file"]["id"],
        seconds=job.spec["seconds"],
        reading=job.spec["reading"],
        report=None if job.result is None else job.result["report"],
        created_at=int(job.created_at),
        started_at=None if job.started_at is None else int(job.started_at),
        finished_at=None if job.finished_at is None else int(job.finished_at),
        progress=dict(job.progress),
        error=error_view(job),
        metadata=dict(job.metadata),
    )
