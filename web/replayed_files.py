"""Which files a training replays, so that the model to continue from does not forget them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textgen.errors import InvalidInput
from textgen.reading_options import ReadingOptions
from web.file_references import reference
from web.services import Services
from worker.errors import NotFound
from worker.storage.models import Model

# How the files of a training were read: the same parts of them are held out again. Labels of an old
# text are left aside, and which column they are in does not change the text.
READING_OPTIONS = (
    *(name for name in ReadingOptions.model_fields if name != "label_column"),
    "deduplicate",
    "mask_personal_data",
    "shuffle",
    "validation_fraction",
    "test_fraction",
)


def replay_spec(
    services: Services,
    tenant: str,
    base: Model | None,
    file_ids: Sequence[str],
    hyperparameters: Mapping[str, Any],
    purpose: str,
) -> dict[str, Any] | None:
    """Files and how to read them, or None where nothing is to be replayed.

    InvalidInput where there is no model to continue from, or its files are gone.
    """
    fraction = hyperparameters.get("replay_fraction")
    if fraction is None and not file_ids:
        return None
    param = "replay_files" if file_ids else "hyperparameters.replay_fraction"
    if base is None:
        raise InvalidInput(
            f"{param!r} keeps what a model knows already, and 'model' is a preset, which knows "
            "nothing. Leave it out, or continue from a model of your own.",
            code="nothing_to_keep",
            param=param,
        )
    if file_ids:
        files = [reference(services, tenant, each, "replay_files", purpose) for each in file_ids]
        return {
            "files": files,
            "validation_file": None,
            "hyperparameters": _reading(hyperparameters),
        }
    return _files_of_base(services, tenant, base, param, purpose)


def _files_of_base(
    services: Services, tenant: str, base: Model, param: str, purpose: str
) -> dict[str, Any]:
    """What the model was trained on, where that is known and still there."""
    try:
        job = None if base.job_id is None else services.jobs.get(tenant, base.job_id)
    except NotFound:
        job = None
    if job is None:
        raise _gone(base, "it was not trained here, or its job is gone", param)
    spec = job.spec
    validation = spec["validation_file"]
    needed = [*spec["files"], *([] if validation is None else [validation])]
    for file in needed:
        try:
            reference(services, tenant, file["id"], param, purpose)
        except InvalidInput:
            reason = f"its file {file['filename']!r} ({file['id']}) was deleted"
            raise _gone(base, reason, param) from None
    return {
        "files": spec["files"],
        "validation_file": validation,
        "hyperparameters": _reading(spec["hyperparameters"]),
    }


def _reading(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: hyperparameters[name] for name in READING_OPTIONS if name in hyperparameters}


def _gone(base: Model, reason: str, param: str) -> InvalidInput:
    return InvalidInput(
        f"{param!r} is to keep what {base.id!r} learnt, but {reason}. Upload the text again and "
        "give it in 'replay_files', or leave it out.",
        code="replay_files_gone",
        param=param,
    )
