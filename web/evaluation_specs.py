"""From the body of an evaluation request to the specification that a worker needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textgen.errors import InvalidInput
from textgen.options import Hyperparameters
from textgen.reading_options import ReadingOptions
from web.file_references import reference
from web.schemas.evaluations import EvaluationBody
from web.schemas.measurements import TEXT_PURPOSES, reading_of
from web.services import Services
from worker.errors import NotFound
from worker.generation.serving import find_model


def evaluation_spec(services: Services, tenant: str, body: EvaluationBody) -> dict[str, Any]:
    """What is measured on what, with the files of the model's own training as far as known."""
    options = body.chosen()
    model, stored = find_model(services.models, tenant, body.model)
    training = _training(services, tenant, model)
    learnt = _reading(training)
    # What a training measured on in a file of its own is no part of its training files.
    file, reading = training.get("validation_file"), learnt
    if body.file is not None:
        file = reference(services, tenant, body.file, "file", *TEXT_PURPOSES)
        reading = reading_of(body)
    if file is None and not training:
        raise InvalidInput(
            f"'file' is left out, and the files that {model!r} was trained on are not all there "
            "any more, so what was held out of them is not known. Name a file to measure on.",
            code="training_files_gone",
            param="file",
        )
    return {
        "model": model,
        "model_artifact": stored.model_dump(),
        "input_file": file,
        "reading": reading,
        "training_files": training.get("files", []),
        "training_reading": learnt,
        "options": options,
    }


def files_of(spec: Mapping[str, Any]) -> list[str]:
    """The files that must not be deleted while the evaluation lives."""
    file = spec["input_file"]
    files = spec["training_files"] if file is None else [*spec["training_files"], file]
    return [each["id"] for each in files]


def _training(services: Services, tenant: str, model: str) -> Mapping[str, Any]:
    """The specification of the training that made a model; empty where its files are gone."""
    job_id = services.models.get(tenant, model).job_id
    if job_id is None:
        return {}
    try:
        spec = services.jobs.get(tenant, job_id).spec
        validation = spec["validation_file"]
        for file in spec["files"] if validation is None else [*spec["files"], validation]:
            services.files.get(tenant, file["id"])
    except NotFound:
        return {}
    return spec


def _reading(training: Mapping[str, Any]) -> dict[str, Any]:
    """How a training reads its files, as far as it was said."""
    hyperparameters = Hyperparameters.parse(training.get("hyperparameters", {}))
    return ReadingOptions.of(hyperparameters).model_dump(exclude_none=True)
