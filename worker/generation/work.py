"""A checked request on its way to the engine, whichever endpoint it came in by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgen.errors import InvalidOption
from worker.contracts import GenerateRequest
from worker.generation.answer import Answer
from worker.generation.serving import ModelNames


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, the models there are, and the bounds of one request."""

    models: ModelNames
    tenant: str
    max_characters: int
    max_prompts: int


@dataclass(slots=True)
class Work:
    """What goes to the engine, and what gathers its answer; ``model`` is the model's real id."""

    model: str
    request: GenerateRequest
    answer: Answer


def leave_out(
    values: Mapping[str, Any], harmless: Mapping[str, Sequence[object]]
) -> dict[str, Any]:
    """``values`` without the parts of OpenAI's call that there are not here.

    A value that changes nothing is accepted; InvalidOption ``unsupported_option`` for others.
    """
    kept = dict(values)
    for name, accepted in harmless.items():
        if name in kept and kept.pop(name) not in accepted:
            raise InvalidOption(
                f"{name!r} is not supported by this service; leave it out.",
                code="unsupported_option",
                param=name,
            )
    return kept
