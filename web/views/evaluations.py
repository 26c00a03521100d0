"""/v1/evaluations: how well a model does, on what was held out of its training or on a file."""

from __future__ import annotations

from web.auth import tenant
from web.evaluation_specs import evaluation_spec, files_of
from web.job_lookup import job_of_kind
from web.job_waits import has_ended, wait_until
from web.measurement_views import evaluation_view
from web.resource import Resource
from web.schemas.base import MetadataPageQuery
from web.schemas.evaluations import EvaluationBody, EvaluationList, EvaluationObject
from web.services import current
from web.submission import accept
from worker.jobs.states import Kind

evaluations = Resource("evaluations", __name__)
ROOT = "/v1/evaluations"
KIND: Kind = "evaluation"


@evaluations.on(
    f"POST {ROOT}",
    "Start an evaluation",
    "train",
    "generate",
    body=EvaluationBody,
    answer=EvaluationObject,
)
def create(body: EvaluationBody) -> EvaluationObject:
    """A text that the model cannot be measured on makes it fail, saying why."""
    services = current()
    spec = evaluation_spec(services, tenant(), body)
    job = accept(
        services,
        tenant(),
        kind=KIND,
        spec=spec,
        files=files_of(spec),
        models=[spec["model"]],
        metadata=body.metadata,
        body=body,
    )
    return evaluation_view(job)


@evaluations.on(
    f"GET {ROOT}", "List evaluations", "read", query=MetadataPageQuery, answer=EvaluationList
)
def index(query: MetadataPageQuery) -> EvaluationList:
    """Newest first."""
    page = current().jobs.list(
        tenant(), kind=KIND, after=query.after, limit=query.limit, metadata=query.metadata
    )
    data = [evaluation_view(job) for job in page.items]
    return EvaluationList.model_construct(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


@evaluations.on(
    f"GET {ROOT}/<evaluation_id>", "Show an evaluation", "read", answer=EvaluationObject
)
def show(evaluation_id: str) -> EvaluationObject:
    """One evaluation."""
    return evaluation_view(job_of_kind(current(), evaluation_id, KIND, "evaluation_id"))


@evaluations.on(
    f"POST {ROOT}/<evaluation_id>/cancel",
    "Cancel an evaluation",
    "train",
    "generate",
    answer=EvaluationObject,
)
def cancel(evaluation_id: str) -> EvaluationObject:
    """Waits up to five seconds for the end; after that it still comes."""
    services = current()
    job_of_kind(services, evaluation_id, KIND, "evaluation_id")
    job = services.jobs.request_cancel(tenant(), evaluation_id)
    return evaluation_view(wait_until(services, job, has_ended))
