"""/v1/scores: how surprising each row of a file is to a model."""

from __future__ import annotations

from typing import Any

from web.auth import tenant
from web.file_references import reference
from web.job_lookup import cancel_of_kind, job_of_kind, page_of_kind
from web.measurement_views import score_view
from web.resource import Resource
from web.schemas.base import MetadataPageQuery
from web.schemas.measurements import TEXT_PURPOSES, reading_of
from web.schemas.scores import ScoreBody, ScoreList, ScoreObject
from web.services import current
from web.submission import accept
from worker.generation.serving import find_model
from worker.jobs.states import Kind

scores = Resource("scores", __name__)
ROOT = "/v1/scores"
KIND: Kind = "scoring"


@scores.on(
    f"POST {ROOT}", "Start a scoring", "train", "generate", body=ScoreBody, answer=ScoreObject
)
def create(body: ScoreBody) -> ScoreObject:
    """Rows that cannot be read make it fail, naming the line."""
    body.check_one()
    services, owner = current(), tenant()
    model, stored = find_model(services.models, owner, body.model, needs="causal")
    file = (
        None if body.file is None else reference(services, owner, body.file, "file", *TEXT_PURPOSES)
    )
    spec: dict[str, Any] = {
        "model": model,
        "model_artifact": stored.model_dump(),
        "input_file": file,
        "input": body.texts,
        "reading": reading_of(body),
        "worst": body.worst,
    }
    job = accept(
        services,
        owner,
        kind=KIND,
        spec=spec,
        files=[] if file is None else [file["id"]],
        models=[model],
        metadata=body.metadata,
        body=body,
    )
    return score_view(job)


@scores.on(f"GET {ROOT}", "List scorings", "read", query=MetadataPageQuery, answer=ScoreList)
def index(query: MetadataPageQuery) -> ScoreList:
    """Newest first."""
    return ScoreList.model_construct(**page_of_kind(KIND, query, score_view))


@scores.on(f"GET {ROOT}/<score_id>", "Show a scoring", "read", answer=ScoreObject)
def show(score_id: str) -> ScoreObject:
    """One scoring."""
    return score_view(job_of_kind(current(), score_id, KIND, "score_id"))


@scores.on(
    f"POST {ROOT}/<score_id>/cancel", "Cancel a scoring", "train", "generate", answer=ScoreObject
)
def cancel(score_id: str) -> ScoreObject:
    """Waits up to five seconds for the end; after that it still comes."""
    return score_view(cancel_of_kind(score_id, KIND, "score_id"))
