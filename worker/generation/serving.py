"""From the name of a model in a request to the stored file that answers it.

Used by completion requests and by the lines of a batch, so both refuse with the same words.
"""

from __future__ import annotations

from textgen.engine.context import not_a_classifier, suffix_not_learnt, writing_not_learnt
from textgen.errors import InvalidOption
from textgen.options import PRESET_NAMES
from worker.contracts import BundleReference
from worker.storage.models import Model, Models


def find_model(
    models: Models, tenant: str, name: str, *, fills_gaps: bool = False
) -> tuple[str, BundleReference]:
    """The model's real id and its file; an alias is followed.

    Raises InvalidOption (``model_not_trained``) for a preset, and where it is to fill gaps
    (``suffix_not_learnt``) for one that cannot, and (``writing_not_learnt``) for one that has
    learnt labels alone; NotFound for an unknown name.
    """
    model = _trained(models, tenant, name)
    objectives = model.header.get("objectives", ())
    if list(objectives) == ["classify"]:
        raise writing_not_learnt(model.header.get("labels", ()))
    if fills_gaps and "infill" not in objectives:
        raise suffix_not_learnt()
    return model.id, BundleReference(artifact=model.artifact, file=model.file)


def find_classifier(
    models: Models, tenant: str, name: str
) -> tuple[str, BundleReference, tuple[str, ...]]:
    """As ``find_model`` for a model that has learnt labels, and these.

    Raises InvalidOption (``not_a_classifier``) for one that has not.
    """
    model = _trained(models, tenant, name)
    labels = tuple(model.header.get("labels", ()))
    if not labels:
        raise not_a_classifier()
    return model.id, BundleReference(artifact=model.artifact, file=model.file), labels


def _trained(models: Models, tenant: str, name: str) -> Model:
    if name in PRESET_NAMES:
        raise InvalidOption(
            f"{name!r} is a preset: a shape to train, with nothing learnt yet. Train it with "
            f'client.fine_tuning.jobs.create(model="{name}", training_file=…) and use the '
            "'fine_tuned_model' of the finished job.",
            code="model_not_trained",
            param="model",
        )
    return models.resolve(tenant, name)
