"""Amounts of what is used."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from sqlalchemy.engine import Row

UsageKind = Literal[
    "completions", "batches", "trainings", "scorings", "evaluations", "examinations", "storage"
]


@dataclass(frozen=True, slots=True)
class Quantities:
    """Characters are Unicode code points; a prompt of token ids counts an id as a character.

    ``compute_seconds`` are of a process that works for one job, or a request's share of the engine;
    ``byte_hours`` bytes times the hours they were stored.
    """

    requests: int = 0
    characters_in: int = 0
    characters_out: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    compute_seconds: float = 0.0
    byte_hours: float = 0.0

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """In columns of the same names; sums of whole numbers may come as decimal ones."""
        return cls(
            requests=int(row.requests),
            characters_in=int(row.characters_in),
            characters_out=int(row.characters_out),
            tokens_in=int(row.tokens_in),
            tokens_out=int(row.tokens_out),
            compute_seconds=float(row.compute_seconds),
            byte_hours=float(row.byte_hours),
        )

    def __add__(self, other: Self) -> Self:
        """Both together."""
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in NAMES))


NAMES = tuple(field.name for field in fields(Quantities))
