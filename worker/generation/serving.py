"""From the name of a model in a request to the stored file that answers it.

Used by completion requests, the lines of a batch, scorings and evaluations, so all refuse with
the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from textgen.engine.context import (
    gaps_not_learnt,
    not_a_chat_model,
    not_a_classifier,
    suffix_not_learnt,
    writing_not_learnt,
)
from textgen.errors import InvalidOption
from textgen.options import PRESET_NAMES, ObjectiveName
from worker.contracts import BundleReference
from worker.errors import NotFound
from worker.storage.models import Model


class ModelNames(Protocol):
    """Finds models by their names."""

    def resolve(self, tenant: str, name: str) -> Model:
        """A model by its id, an alias, or the training that makes it; raises NotFound."""


class RememberedModels:
    """Looks each name up once: for many requests that are made in one moment."""

    def __init__(self, models: ModelNames) -> None:
        self._models = models
        self._found: dict[tuple[str, str], Model | NotFound] = {}

    def resolve(self, tenant: str, name: str) -> Model:
        """As the first time."""
        key = (tenant, name)
        if key not in self._found:
            try:
                self._found[key] = self._models.resolve(tenant, name)
            except NotFound as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, NotFound):
            raise found.with_traceback(None)
        return found


def find_model(
    models: ModelNames, tenant: str, name: str, *, needs: ObjectiveName | None = None
) -> tuple[str, BundleReference]:
    """The model's real id and its file; an alias is followed.

    Raises InvalidOption (``model_not_trained``) for a preset, and for one that has not learnt
    what it ``needs`` (``suffix_not_learnt``, ``objective_not_learnt``); NotFound for an unknown
    name.
    """
    return _able(find_trained(models, tenant, name), needs)


def find_writer(
    models: ModelNames, tenant: str, name: str, *, fills_gaps: bool
) -> tuple[str, BundleReference]:
    """As ``find_model`` for one that writes texts, or what is missing in them.

    Raises InvalidOption (``writing_not_learnt``) for one that has learnt labels alone.
    """
    model = find_trained(models, tenant, name)
    if list(model.header.get("objectives", ())) == ["classify"]:
        raise writing_not_learnt(model.header.get("labels", ()))
    return _able(model, "infill" if fills_gaps else None)


def find_filler(models: ModelNames, tenant: str, name: str) -> tuple[str, BundleReference]:
    """As ``find_model`` for one that has learnt to fill gaps.

    Raises InvalidOption (``suffix_not_learnt``) for one that has not.
    """
    model = find_trained(models, tenant, name)
    if "infill" not in model.header.get("objectives", ()):
        raise gaps_not_learnt()
    return _able(model, None)


def find_classifier(
    models: ModelNames, tenant: str, name: str
) -> tuple[str, BundleReference, tuple[str, ...]]:
    """As ``find_model`` for a model that has learnt labels, and these.

    Raises InvalidOption (``not_a_classifier``) for one that has not.
    """
    model = find_trained(models, tenant, name)
    labels = tuple(model.header.get("labels", ()))
    if not labels:
        raise not_a_classifier()
    return model.id, BundleReference(artifact=model.artifact, file=model.file), labels


def find_speaker(models: ModelNames, tenant: str, name: str) -> tuple[str, BundleReference]:
    """As ``find_model`` for a model that has learnt from conversations.

    Raises InvalidOption (``not_a_chat_model``) for one that has not.
    """
    model = find_trained(models, tenant, name)
    if model.header.get("rows") != "messages":
        raise not_a_chat_model()
    return _able(model, None)


def find_embedder(
    models: ModelNames, tenant: str, name: str
) -> tuple[str, BundleReference, dict[str, Any]]:
    """As ``find_model``, with the model's shape: any trained model has vectors."""
    model = find_trained(models, tenant, name)
    return *_able(model, None), model.header.get("model", {})


def find_trained(models: ModelNames, tenant: str, name: str) -> Model:
    """A trained model, whatever it has learnt; an alias is followed.

    Raises InvalidOption (``model_not_trained``) for a preset, NotFound for an unknown name.
    """
    if name in PRESET_NAMES:
        raise InvalidOption(
            f"{name!r} is a preset: a shape to train, with nothing learnt yet. Train it with "
            f'client.fine_tuning.jobs.create(model="{name}", training_file=…) and use the '
            "'fine_tuned_model' of the finished job.",
            code="model_not_trained",
            param="model",
        )
    return models.resolve(tenant, name)


def _able(model: Model, needs: ObjectiveName | None) -> tuple[str, BundleReference]:
    """Its id and file where it has learnt what is needed."""
    learnt = model.header.get("objectives", ("causal",))
    if needs is not None and needs not in learnt:
        raise suffix_not_learnt() if needs == "infill" else _not_learnt(model.id, needs, learnt)
    return model.id, BundleReference(artifact=model.artifact, file=model.file)


def _not_learnt(model: str, needs: ObjectiveName, learnt: Sequence[str]) -> InvalidOption:
    return InvalidOption(
        f"{model!r} has learnt {', '.join(learnt)}, and this needs {needs}. Use a model that was "
        f"trained with the objective {needs}.",
        code="objective_not_learnt",
        param="model",
    )
