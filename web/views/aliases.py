"""/v1/aliases: names of the user's own for models, moved in one step."""

from __future__ import annotations

from textgen.errors import InvalidInput
from textgen.options import PRESET_NAMES
from web.alias_names import check_name
from web.auth import tenant
from web.resource import Resource
from web.schemas.base import Deleted
from web.schemas.models import AliasBody, AliasList, AliasObject
from web.services import current
from worker.storage.models import Alias

aliases = Resource("aliases", __name__)


@aliases.on("GET /v1/aliases", "List aliases", "read", answer=AliasList)
def index() -> AliasList:
    """All of them, by name."""
    return AliasList(data=[view(alias) for alias in current().models.aliases(tenant())])


@aliases.on("GET /v1/aliases/<name>", "Show an alias", "read", answer=AliasObject)
def show(name: str) -> AliasObject:
    """Where it points."""
    return view(current().models.get_alias(tenant(), name))


@aliases.on(
    "PUT /v1/aliases/<name>", "Make or move an alias", "train", body=AliasBody, answer=AliasObject
)
def put(name: str, body: AliasBody) -> AliasObject:
    """Requests that name the alias use the new model from this answer on."""
    check_name(name, "name")
    if body.model in PRESET_NAMES:
        raise InvalidInput(
            f"'model' is {body.model!r}, a preset; an alias points to a trained model.",
            code="model_not_trained",
            param="model",
        )
    return view(current().models.set_alias(tenant(), name, body.model))


@aliases.on("DELETE /v1/aliases/<name>", "Delete an alias", "train", answer=Deleted)
def delete(name: str) -> Deleted:
    """The model stays."""
    current().models.delete_alias(tenant(), name)
    return Deleted(id=name, object="alias")


def view(alias: Alias) -> AliasObject:
    """An alias as shown."""
    return AliasObject.model_construct(
        id=alias.name, model=alias.model, updated_at=int(alias.updated_at)
    )
