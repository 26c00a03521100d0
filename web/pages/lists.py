"""Lists on pages: search, filters and pages that go on from a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request, url_for
from pydantic import Field, field_validator

from web.schemas.base import Query

ROWS = 25


class ListQuery(Query):
    """Which part of a list: what it is searched for, and the last id of the page before."""

    q: str = Field("", max_length=200)
    after: str | None = Field(None, max_length=300)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_nothing(cls, value: object, info: Any) -> object:
        """Forms send what nobody has filled in."""
        default = cls.model_fields[info.field_name].get_default()
        return default if value == "" else value


@dataclass(frozen=True)
class Pager:
    """Ways to the other pages of a list."""

    first: str | None
    following: str | None


def pager(query: ListQuery, last: str | None, has_more: bool) -> Pager:
    """For the page that ``query`` has asked for, whose last id is ``last``."""
    endpoint = request.endpoint or ""
    kept = query.model_dump(exclude_defaults=True, exclude={"after"}, mode="json")
    path = request.view_args or {}
    return Pager(
        first=None if query.after is None else url_for(endpoint, **path, **kept),
        following=url_for(endpoint, **path, **kept, after=last) if has_more and last else None,
    )
