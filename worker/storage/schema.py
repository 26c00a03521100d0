"""What all table definitions share: one registry, column types that mean the same everywhere.

Strings that are compared or ordered use the C collation, so that SQLite and PostgreSQL agree on
the order. Times are seconds since 1970.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, Dialect, Integer, MetaData, Text
from sqlalchemy.dialects.postgresql import BIGINT, JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s",
        "ix": "%(table_name)s_%(column_0_N_name)s",
    }
)


class Document(TypeDecorator[Any]):
    """JSON that every database and every client can read back; None is SQL's NULL.

    PostgreSQL refuses NUL and half characters, JSON knows no NaN: see ``clean``.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, *, searchable: bool = False) -> None:
        super().__init__(none_as_null=True)
        self.searchable = searchable

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        binary = self.searchable and dialect.name == "postgresql"
        return dialect.type_descriptor(
            JSONB(none_as_null=True) if binary else JSON(none_as_null=True)
        )

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return clean(value)


class Line(TypeDecorator[str]):
    """Text for people, freed of what PostgreSQL cannot store."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else clean_text(value)


def clean(value: Any) -> Any:
    """The same value with NUL and half characters as U+FFFD, and NaN and infinity as None."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    return value


def clean_text(text: str) -> str:
    """The text with U+FFFD where PostgreSQL could not store a character."""
    whole = text.replace("\0", "\ufffd")
    return whole if whole.isascii() else whole.encode("utf-8", "replace").decode("utf-8")


NAME = Text().with_variant(Text(collation="C"), "postgresql")
BIG = Integer().with_variant(BIGINT(), "postgresql")  # SQLite's INTEGER has 64 bits
DOCUMENT = Document()
SEARCHABLE = Document(searchable=True)
