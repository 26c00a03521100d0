"""A file as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Row


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file. ``filename`` is the user's word for it and never part of a path."""

    id: str
    tenant: str
    filename: str
    purpose: str
    status: str
    bytes: int
    sha256: str
    artifact: str
    file: str
    created_at: float
    expires_at: float | None


def file_from(row: Row[Any]) -> FileRow:
    """The file of a row of its table."""
    return FileRow(**{name: row._mapping[name] for name in FileRow.__dataclass_fields__})
