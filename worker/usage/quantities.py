"""Amounts of what is used."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import Literal, Self

UsageKind = Literal["completions", "batches", "trainings", "scorings", "evaluations", "storage"]


@dataclass(frozen=True, slots=True)
class Quantities:
    """Characters are Unicode code points; a prompt of token ids counts an id as a character.

    ``compute_seconds`` are of a process that works for this job alone, ``byte_hours`` bytes times
    the hours they were stored.
    """

    requests: int = 0
    characters_in: int = 0
    characters_out: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    compute_seconds: float = 0.0
    byte_hours: float = 0.0

    def __add__(self, other: Self) -> Self:
        """Both together."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return type(self)(*(mine + theirs for mine, theirs in pairs))


NAMES = tuple(field.name for field in fields(Quantities))
