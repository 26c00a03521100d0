"""A generation worker's error, which travelled as JSON, back as an exception."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textgen.errors import EngineFull, InvalidOption, TextgenError
from worker.errors import CorruptArtifact, NoWorker, Unavailable, WorkerLost

KINDS: Mapping[str, type[TextgenError]] = {
    kind.default_code: kind for kind in (EngineFull, WorkerLost, NoWorker, CorruptArtifact)
}
# Faults of the service, though they name a field.
OWN_FAULTS = (
    "model_not_loaded",
    "model_unreadable",
    "model_too_large",
    "invalid_bundle",
    "unreadable_request",
)
# Those that may be gone in a moment, with nothing changed: memory or files were short.
PASSING_FAULTS = ("model_not_loaded",)


def to_error(reason: Mapping[str, Any]) -> TextgenError:
    """``reason`` is {code, message, param}; one that blames a field blames the request.

    But for faults that are the service's own.
    """
    code, param = str(reason.get("code", "worker_error")), reason.get("param")
    message = str(reason.get("message", "The worker could not answer."))
    if code in KINDS:
        return KINDS[code](message, code=code, param=param)
    if code in OWN_FAULTS:
        return Unavailable(message, code=code, param=param)
    if param is not None:
        return InvalidOption(message, code=code, param=param)
    return TextgenError(message, code=code)
