"""A generation worker's error, which travelled as JSON, back as an exception."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textgen.errors import EngineFull, InvalidOption, TextgenError
from worker.errors import CorruptArtifact, NoWorker, Unavailable, WorkerLost

KINDS: Mapping[str, type[TextgenError]] = {
    kind.default_code: kind for kind in (EngineFull, WorkerLost, NoWorker, CorruptArtifact)
}
MODEL_FAULTS = ("model_not_loaded", "model_too_large", "invalid_bundle")
OTHER_FAULTS = ("unreadable_request",)


def to_error(reason: Mapping[str, Any]) -> TextgenError:
    """``reason`` is {code, message, param}; one that blames a field blames the request."""
    code, param = str(reason.get("code", "worker_error")), reason.get("param")
    message = str(reason.get("message", "The worker could not answer."))
    if code in KINDS:
        return KINDS[code](message, code=code, param=param)
    if code in (*MODEL_FAULTS, *OTHER_FAULTS):
        return Unavailable(message, code=code, param=param)
    if param is not None:
        return InvalidOption(message, code=code, param=param)
    return TextgenError(message, code=code)
