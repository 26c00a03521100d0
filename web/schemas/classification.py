"""The answer of a classification; `worker.generation.classification` has its request."""

from __future__ import annotations

from typing import Literal

from web.schemas.base import Shape


class LabelChance(Shape):
    """A label and how likely it is."""

    label: str
    probability: float


class Classification(Shape):
    """What was found of one text: the likeliest label, and all or the ``top_k`` likeliest."""

    index: int
    object: Literal["classification"] = "classification"
    label: str
    probability: float
    probabilities: list[LabelChance]


class ClassifyUsage(Shape):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Classifications(Shape):
    """One for each text, in their order."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[Classification]
    usage: ClassifyUsage
