"""What all table definitions share: one registry, column types that mean the same everywhere.

Strings that are compared or ordered use the C collation, so that SQLite and PostgreSQL agree on
the order. Times are seconds since 1970.
"""

from __future__ import annotations

from sqlalchemy import JSON, Integer, MetaData, Text
from sqlalchemy.dialects.postgresql import BIGINT, JSONB

METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s",
        "ix": "%(table_name)s_%(column_0_N_name)s",
    }
)
NAME = Text().with_variant(Text(collation="C"), "postgresql")
BIG = Integer().with_variant(BIGINT(), "postgresql")  # SQLite's INTEGER has 64 bits
DOCUMENT = JSON(none_as_null=True)
SEARCHABLE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
