"""/v1/uses: what has used a file or a model, to be looked at before it is deleted."""

from __future__ import annotations

from web.auth import tenant
from web.resource import Resource
from web.schemas.projects import UsedByShape, UsingJob
from web.services import current
from worker.jobs.uses import What

uses = Resource("uses", __name__)


@uses.on("GET /v1/uses/files/<file_id>", "What has used a file", "read", answer=UsedByShape)
def of_file(file_id: str) -> UsedByShape:
    """Jobs, finished or not, and the models that they have made."""
    current().files.get(tenant(), file_id)
    return _view("file", file_id)


@uses.on("GET /v1/uses/models/<path:model_id>", "What has used a model", "read", answer=UsedByShape)
def of_model(model_id: str) -> UsedByShape:
    """Jobs, the models that were trained from it, and its aliases."""
    return _view("model", current().models.resolve(tenant(), model_id).id)


def _view(what: What, identifier: str) -> UsedByShape:
    found = current().uses.of(tenant(), what, identifier)
    return UsedByShape(
        id=identifier,
        jobs=[UsingJob(id=id, kind=kind, state=state) for id, kind, state in found.jobs],  # noqa: A001
        models=list(found.models),
        aliases=list(found.aliases),
    )
