"""A model and an alias as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Row


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model to be added."""

    id: str
    owned_by: str
    artifact: str
    file: str
    base: str | None = None
    header: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model. ``header`` has what clients may see of its bundle's header."""

    id: str
    tenant: str
    base: str | None
    owned_by: str
    job_id: str | None
    artifact: str
    file: str
    header: dict[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class Alias:
    """A name, and the id of the model it stands for."""

    name: str
    model: str
    updated_at: float


def model_from(row: Row[Any]) -> Model:
    """The model of a row of its table."""
    return Model(**{name: row._mapping[name] for name in Model.__dataclass_fields__})
