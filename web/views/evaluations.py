"""/v1/evaluations: how well a model does, on what was held out of its training or on a file."""

from __future__ import annotations

from web.auth import tenant
from web.evaluation_specs import evaluation_spec, files_of
from web.job_lookup import cancel_of_kind, job_of_kind, page_of_kind
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
    return EvaluationList.model_construct(**page_of_kind(KIND, query, evaluation_view))


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
    return evaluation_view(cancel_of_kind(evaluation_id, KIND, "evaluation_id"))
