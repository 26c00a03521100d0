"""The answer of an insertion; `worker.generation.insertions` has its request."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from web.schemas.base import Shape
from web.schemas.completions import CompletionUsage


class InsertedSpan(Shape):
    """Characters ``start`` to ``end`` of the new text, which were not there before."""

    start: int
    end: int
    text: str
    mean_logprob: float = Field(description="of a token, nats: how sure the model was")


class InsertionObject(Shape):
    """The longer text; fewer insertions than were asked for where nothing more could be said."""

    id: str
    object: Literal["insertion"] = "insertion"
    created: int
    model: str
    text: str
    insertions: list[InsertedSpan] = Field(description="in the order of the text")
    usage: CompletionUsage = Field(description="of all rounds, also for what was not kept")
