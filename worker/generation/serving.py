"""From the name of a model in a request to the stored file that answers it.

Used by completion requests and by the lines of a batch, so both refuse with the same words.
"""

from __future__ import annotations

from textgen.engine.context import suffix_not_learnt
from textgen.errors import InvalidOption
from textgen.options import PRESET_NAMES
from worker.contracts import BundleReference
from worker.storage.models import Models


def find_model(
    models: Models, tenant: str, name: str, *, fills_gaps: bool = False
) -> tuple[str, BundleReference]:
    """The model's real id and its file; an alias is followed.

    Raises InvalidOption (``model_not_trained``) for a preset, and where it is to fill gaps
    (``suffix_not_learnt``) for one that cannot; NotFound for an unknown name.
    """
    if name in PRESET_NAMES:
        raise InvalidOption(
            f"{name!r} is a preset: a shape to train, with nothing learnt yet. Train it with "
            f'client.fine_tuning.jobs.create(model="{name}", training_file=…) and use the '
            "'fine_tuned_model' of the finished job.",
            code="model_not_trained",
            param="model",
        )
    model = models.resolve(tenant, name)
    if fills_gaps and "infill" not in model.header.get("objectives", ()):
        raise suffix_not_learnt()
    return model.id, BundleReference(artifact=model.artifact, file=model.file)
