"""From the body of a training request to the specification that a worker needs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from textgen.errors import InvalidInput
from textgen.options import AUTO_PRESET, PRESET_NAMES, SHAPE_OPTIONS
from web.alias_names import check_name
from web.file_references import reference
from web.replayed_files import replay_spec
from web.schemas.fine_tuning import TrainingBody
from web.services import Services
from worker.errors import NotFound
from worker.storage.models import Model

PURPOSE = "fine-tune"
VECTOR_PURPOSES = (PURPOSE, "user_data")
# What a model that is trained further brings with it: its weights fit no other shape.
GIVEN_BY_THE_BASE = ("tokenizer", "vocab_size", "normalization", *SHAPE_OPTIONS)


def training_spec(services: Services, tenant: str, body: TrainingBody) -> dict[str, Any]:
    """Everything that the training is, but for what is decided when it starts."""
    hyperparameters = body.chosen()
    seed = body.chosen_seed(hyperparameters, secrets.randbits(31))
    hyperparameters.pop("seed", None)
    if body.alias is not None:
        check_name(body.alias, "alias")
    training = reference(services, tenant, body.training_file, "training_file", PURPOSE)
    more = [
        reference(services, tenant, file_id, "training_files", PURPOSE)
        for file_id in body.training_files
    ]
    _check_once([training, *more])
    _check_patience(body, hyperparameters)
    base = _base(services, tenant, body.model, hyperparameters)
    embeddings = _embeddings(services, tenant, body, base, hyperparameters)
    replay = replay_spec(services, tenant, base, body.replay_files, hyperparameters, PURPOSE)
    return {
        **_start(body.model, base),
        "training_file": training["id"],
        "validation_file": _held_out(services, tenant, body.validation_file, "validation_file"),
        "test_file": _held_out(services, tenant, body.test_file, "test_file"),
        "files": [training, *more],
        "replay": replay,
        "embeddings_file": embeddings,
        "hyperparameters": hyperparameters,
        "suffix": body.suffix,
        "seed": seed,
        "alias": body.alias,
    }


def _held_out(
    services: Services, tenant: str, file_id: str | None, field: str
) -> dict[str, str] | None:
    """The file that takes the place of a held-out fraction, where one is given."""
    return None if file_id is None else reference(services, tenant, file_id, field, PURPOSE)


def _embeddings(
    services: Services,
    tenant: str,
    body: TrainingBody,
    base: Model | None,
    hyperparameters: Mapping[str, Any],
) -> dict[str, str] | None:
    """The file of word vectors; InvalidInput where a model has an embedding already."""
    if body.embeddings_file is None:
        if hyperparameters.get("freeze_embeddings"):
            raise InvalidInput(
                "'freeze_embeddings' keeps the vectors of an 'embeddings_file' as they are, and "
                "none is given. Give one, or leave it out.",
                code="nothing_to_freeze",
                param="hyperparameters.freeze_embeddings",
            )
        return None
    if base is not None:
        raise InvalidInput(
            f"'embeddings_file' is what the embedding of a new model begins with, and {base.id!r} "
            "has one already. Leave it out, or start from a preset.",
            code="shape_is_given",
            param="embeddings_file",
        )
    return reference(services, tenant, body.embeddings_file, "embeddings_file", *VECTOR_PURPOSES)


def _check_patience(body: TrainingBody, hyperparameters: Mapping[str, Any]) -> None:
    """InvalidInput where a training could not stop early, since nothing is held out."""
    patience = hyperparameters.get("patience")
    held_out = body.validation_file is not None or hyperparameters.get("validation_fraction") != 0
    if patience is not None and not held_out:
        raise InvalidInput(
            f"'patience' is {patience} validations without improvement, but nothing is held out to "
            "validate on. Give a validation_file or a validation_fraction, or leave it out.",
            code="nothing_to_validate_on",
            param="hyperparameters.patience",
        )


def _check_once(files: list[dict[str, str]]) -> None:
    """A file that is given twice would count twice, which nobody means to say like this."""
    ids = [file["id"] for file in files]
    for file_id in ids:
        if ids.count(file_id) > 1:
            raise InvalidInput(
                f"'training_files' has {file_id!r} again; give every file once, without "
                "'training_file' among the others.",
                code="file_given_twice",
                param="training_files",
            )


def _base(
    services: Services, tenant: str, name: str, hyperparameters: Mapping[str, Any]
) -> Model | None:
    """The model that the training goes on from; None for a preset."""
    if name in PRESET_NAMES:
        return None
    try:
        model = services.models.resolve(tenant, name)
    except NotFound:
        raise InvalidInput(
            f"'model' is {name!r}: there is no such model. Start from one of "
            f"{', '.join(PRESET_NAMES)}, or from a model of your own.",
            code="model_not_found",
            param="model",
        ) from None
    for option in GIVEN_BY_THE_BASE:
        if hyperparameters.get(option) is not None:
            raise InvalidInput(
                f"{option!r} is given, and the training goes on from {model.id!r}, which has one "
                "already. Leave it out, or start from a preset.",
                code="shape_is_given",
                param=f"hyperparameters.{option}",
            )
    return model


def _start(preset: str, base: Model | None) -> dict[str, Any]:
    """Where the training begins: a preset, or the weights of a model."""
    if base is None:
        return {"model": preset, "preset": preset, "base_artifact": None}
    artifact = {"artifact": base.artifact, "file": base.file}
    return {"model": base.id, "preset": AUTO_PRESET, "base_artifact": artifact}


def files_of(spec: Mapping[str, Any]) -> list[str]:
    """The files that must not be deleted while the training lives."""
    replay = spec.get("replay") or {"files": [], "validation_file": None}
    files = (*spec["files"], *replay["files"])
    single = (
        spec["validation_file"],
        spec.get("test_file"),
        spec.get("embeddings_file"),
        replay["validation_file"],
    )
    return [file["id"] for file in (*files, *single) if file is not None]


def models_of(spec: Mapping[str, Any]) -> list[str]:
    """The models that must not be deleted while the training lives."""
    return [] if spec["base_artifact"] is None else [spec["model"]]
