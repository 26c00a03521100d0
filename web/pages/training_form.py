"""/trainings/new: the form that starts a training, empty or filled in like another job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flask import Response

from textgen.errors import TextgenError
from textgen.options import AUTO_PRESET, NORMALIZATIONS, PIECE_TOKENIZERS, PRESET_NAMES
from web.auth import tenant
from web.pages.forms import body_of_form
from web.pages.lists import ROWS
from web.pages.page import Pages, go, render, render_error
from web.pages.words import estimate_words
from web.schemas.base import Query
from web.schemas.fine_tuning import TrainingBody
from web.services import current
from web.training_specs import PURPOSE
from web.views import fine_tuning
from worker.errors import NotFound
from worker.jobs.rows import Job

training_form = Pages("training_form", __name__)

TOKENIZERS = ("char", "byte", *PIECE_TOKENIZERS)
OBJECTIVES = ("causal", "infill", "mask", "order", "classify")
SECONDS = 300  # what the form proposes
HYPERPARAMETERS = (
    "format", "max_seconds", "tokenizer", "n_epochs", "max_steps", "patience", "vocab_size",
    "normalization", "deduplicate", "mask_personal_data", "validation_fraction", "test_fraction",
    "layers", "hidden_size", "dropout", "batch_size", "sequence_length", "learning_rate", "seed",
    "licence", "copy_index", "replay_fraction", "privacy.epsilon",
    *(f"objectives.{name}" for name in OBJECTIVES),
)  # fmt: skip
FIELDS = (
    "training_file", "model", "alias", "suffix", "validation_file",
    *(f"hyperparameters.{name}" for name in HYPERPARAMETERS),
)  # fmt: skip


class NewTrainingQuery(Query):
    """What the form begins with; ``like``: a training whose settings it takes over."""

    file: str = ""
    model: str = ""
    like: str = ""
    tokenizer: str = ""
    seconds: str = ""


@training_form.page(
    "GET /trainings/new", "The form of a new training", "train", query=NewTrainingQuery
)
def show(query: NewTrainingQuery) -> Response:
    """With what is usual filled in."""
    if query.like:
        job = current().jobs.get(tenant(), query.like)
        if job.kind != "training":
            raise NotFound(f"{query.like!r} is no training.", code="job_not_found")
        return _form(as_asked(job))
    hyperparameters: dict[str, Any] = {"max_seconds": query.seconds or SECONDS}
    if query.tokenizer:
        hyperparameters["tokenizer"] = query.tokenizer
    return _form(
        {
            "training_file": query.file,
            "model": query.model or AUTO_PRESET,
            "hyperparameters": hyperparameters,
        }
    )


@training_form.page("POST /trainings/new", "Start a training, by a form", "train")
def train() -> Response:
    """As POST /v1/fine_tuning/jobs: on to the job."""
    given = body_of_form()
    try:
        job = fine_tuning.create(TrainingBody.parse(given))
    except TextgenError as error:
        return _form(given, error)
    return go("job_pages.show", job_id=job.id)


def as_asked(job: Job) -> dict[str, Any]:
    """The body that would ask for the same training again, with its seed."""
    spec = job.spec
    given: dict[str, Any] = {
        "model": spec["model"],
        "training_file": spec["training_file"],
        "hyperparameters": {**spec["hyperparameters"], "seed": spec["seed"]},
    }
    if more := [file["id"] for file in spec["files"][1:]]:
        given["training_files"] = more
    for name in ("validation_file", "test_file", "embeddings_file"):
        if file := spec.get(name):
            given[name] = file["id"]
    for name in ("suffix", "alias"):
        if spec.get(name):
            given[name] = spec[name]
    replay = spec.get("replay")
    if replay and "replay_fraction" not in spec["hyperparameters"]:  # else those of the base
        given["replay_files"] = [file["id"] for file in replay["files"]]
    return given


def carried(given: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What was asked for and no field of the form shows, as names and values of hidden fields."""
    for name, value in _flat(given):
        if name.removesuffix("[]") not in FIELDS:
            yield name, value


def _flat(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        path = f"{within}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list | tuple):
            yield from ((f"{path}[]", each) for each in value)
        elif value is not None:
            yield path, str(value).lower() if isinstance(value, bool) else value


def _form(given: dict[str, Any], error: TextgenError | None = None) -> Response:
    shown = dict(_flat(given))
    base = str(given.get("model", ""))
    files = _files([str(shown.get(name) or "") for name in ("training_file", "validation_file")])
    values: dict[str, Any] = {
        "given": shown,
        "carried": list(carried(given)),
        "files": files,
        "held_out": [(file_id, filename) for file_id, filename, _ in files],
        "presets": [(name, name) for name in PRESET_NAMES],
        "models": _models(base),
        "tokenizers": [(name, name) for name in TOKENIZERS],
        "normalizations": [(name, name) for name in NORMALIZATIONS],
        "objectives": OBJECTIVES,
        "fields": FIELDS,
        "priced": bool(current().terms.prices.lists),
        "words": estimate_words(),
    }
    if error is not None:
        return render_error("new_training.html", error, **values)
    return render("new_training.html", **values)


def _files(chosen: Iterable[str]) -> list[tuple[str, str, int]]:
    """Ids, names and sizes of the newest files, and of the chosen ones where they are older."""
    services = current()
    rows = services.files.list(tenant(), limit=ROWS, purpose=PURPOSE).items
    files = {row.id: (row.id, row.filename, row.bytes) for row in rows}
    for file_id in chosen:
        if not file_id or file_id in files:
            continue
        try:
            row = services.files.get(tenant(), file_id)
        except NotFound:
            files[file_id] = (file_id, file_id, 0)
        else:
            files[file_id] = (row.id, row.filename, row.bytes)
    return list(files.values())


def _models(chosen: str) -> list[tuple[str, str]]:
    """The newest models to go on from, and the chosen one where it is older or has a name."""
    models = current().models
    found = models.search(tenant(), origin="finished", limit=ROWS).items
    names = models.names(tenant(), [model.id for model in found])
    offered = [(model.id, " · ".join([*names.get(model.id, ()), model.id])) for model in found]
    if chosen and chosen not in PRESET_NAMES and chosen not in {each for each, _ in offered}:
        offered.append((chosen, chosen))
    return offered
