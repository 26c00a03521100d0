"""/v1/models: presets to train, trained models to generate from."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response

from textgen.options import AUTO_PRESET, PRESET_NAMES, PRESETS
from web.auth import actor, tenant
from web.downloads import model_content, send_file
from web.model_imports import receive_model
from web.resource import Resource
from web.schemas.base import Deleted
from web.schemas.models import IMPORT_FORM, ModelList, ModelObject
from web.services import current
from worker.errors import Forbidden, NotFound
from worker.storage.models import Model, Models
from worker.tenants.deletion import forget_states

models = Resource("models", __name__)

PRESETS_CREATED = 1_767_225_600  # 2026-01-01; OpenAI's shape has no model without a date
DESCRIPTIONS: Mapping[str, str] = {
    AUTO_PRESET: "size, batch and tokenizer follow the text and the time there is",
    **{name: preset.description for name, preset in PRESETS.items()},
}


@models.on("GET /v1/models", "List models", "read", answer=ModelList)
def index() -> ModelList:
    """Presets first, then the newest models, all at once: see `ModelList`."""
    return all_models(current().models, tenant())


def all_models(known: Models, tenant: str) -> ModelList:
    """What a tenant can train from and generate with."""
    trained = [view(model) for model in known.list(tenant)]
    return ModelList.model_construct(data=[*map(preset_view, PRESET_NAMES), *trained])


@models.on("POST /v1/models", "Import a model", "train", form=IMPORT_FORM, answer=ModelObject)
def create() -> ModelObject:
    """A file as `/content` gives it out, of this service or another; all of it is checked."""
    return view(receive_model(current(), tenant()))


@models.on(
    "GET /v1/models/<path:model_id>/content",
    "Download a model",
    "read",
    media=("application/octet-stream",),
)
def content(model_id: str) -> Response:
    """The file, whole or a range of it: safetensors with the tokenizer in its header."""
    if model_id in DESCRIPTIONS:
        raise NotFound(
            f"{model_id!r} is a preset: a shape to train, without weights to download.",
            code="model_not_trained",
            param="model",
        )
    services = current()
    model = services.models.resolve(tenant(), model_id)
    return send_file(services, model_content(services, model))


@models.on("GET /v1/models/<path:model_id>", "Show a model", "read", answer=ModelObject)
def show(model_id: str) -> ModelObject:
    """A preset, a trained model, a checkpoint, or what an alias points to."""
    if model_id in DESCRIPTIONS:
        return preset_view(model_id)
    return view(current().models.resolve(tenant(), model_id))


@models.on("DELETE /v1/models/<path:model_id>", "Delete a model", "train", answer=Deleted)
def delete(model_id: str) -> Deleted:
    """A trained model, its aliases, the states of its texts, and its bytes where nothing else
    needs them.
    """
    if model_id in DESCRIPTIONS:
        raise Forbidden(f"{model_id!r} is a preset; presets cannot be deleted.")
    services = current()
    model = services.models.delete(tenant(), model_id)
    services.uses.drop_artifact(model.artifact)
    forget_states(services.states, tenant(), model.artifact)
    data = {"resource": "model", "job_id": model.job_id}
    services.audit.add(actor(), "resource.deleted", tenant(), model_id, data)
    return Deleted(id=model_id, object="model")


def preset_view(name: str) -> ModelObject:
    """A preset as a model to train."""
    return ModelObject.model_construct(
        id=name, created=PRESETS_CREATED, owned_by="preset", description=DESCRIPTIONS[name]
    )


def view(model: Model) -> ModelObject:
    """A trained model as OpenAI shows it, with what was measured."""
    return ModelObject.model_construct(
        id=model.id,
        created=int(model.created_at),
        owned_by=model.owned_by,
        base=model.base,
        job_id=model.job_id,
        objectives=model.header.get("objectives"),
        rows=model.header.get("rows"),
        labels=model.header.get("labels") or None,
        licence=model.header.get("licence"),
        copy_index=model.header.get("copy_index"),
        classification=model.header.get("classification"),
        corpus=model.header.get("corpus") or None,
        metrics=model.header.get("metrics"),
        generation_defaults=model.header.get("generation_defaults"),
        parameters=model.header.get("parameters"),
        architecture=model.header.get("model"),
        tokenizer=model.header.get("tokenizer"),
        vocab_size=model.header.get("vocab_size"),
    )
