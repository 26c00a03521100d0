"""A model as a line of a list, and its figures as people look at them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.storage.model_search import CHECKPOINT
from worker.storage.models import Model

LOSSES = ("full_valid_loss", "valid_loss", "train_loss")  # the first that there is
BITS = ("full_valid_bits_per_character", "valid_bits_per_character", "bits_per_character")
LONGEST = 200  # characters of a value that is shown


@dataclass(frozen=True)
class ModelRow:
    """What people want to see of a model among others."""

    id: str
    title: str
    names: tuple[str, ...]
    origin: str  # finished, checkpoint or imported
    base: str | None
    objectives: tuple[str, ...]
    loss: float | None  # nats a token
    parameters: int | None
    tokenizer: str | None
    licence: str | None
    created_at: float


def model_row(model: Model, names: Sequence[str]) -> ModelRow:
    """The line of one model with the aliases that point to it."""
    header = model.header
    return ModelRow(
        id=model.id,
        title=names[0] if names else model.id,
        names=tuple(names),
        origin=origin_of(model),
        base=model.base,
        objectives=tuple(header.get("objectives") or ()),
        loss=figure_of(header, *LOSSES),
        parameters=header.get("parameters"),
        tokenizer=header.get("tokenizer"),
        licence=header.get("licence"),
        created_at=model.created_at,
    )


def origin_of(model: Model) -> str:
    """Whether a training ended with it, made it on the way, or it came from elsewhere."""
    if CHECKPOINT in model.id:
        return "checkpoint"
    return "imported" if model.job_id is None else "finished"


def figure_of(header: Mapping[str, Any], *names: str) -> float | None:
    """The first of these that was measured."""
    metrics = header.get("metrics") or {}
    for name in names:
        value = metrics.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    return None


def facts_of(values: Mapping[str, Any] | None, within: str = "") -> Iterator[tuple[str, str]]:
    """Each value with its name, those within others as ``outer.inner``; lists are left out.

    A model that was imported may say anything here.
    """
    for name, value in (values or {}).items():
        path = f"{within}.{name}" if within else str(name)
        if isinstance(value, Mapping):
            yield from facts_of(value, path)
        elif value is not None and not isinstance(value, list | tuple):
            yield path[:LONGEST], said(value)


def said(value: Any) -> str:
    """A value as it is read."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.3g}"
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
