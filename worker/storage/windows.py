"""Searching a long list page by page, at a cost that does not grow with its length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Row, Select, tuple_
from sqlalchemy.engine import Connection

WINDOW = 5000  # rows that one search looks at

Item = TypeVar("Item")
Mark = TypeVar("Mark")  # names an item: a list goes on after it


@dataclass(frozen=True, slots=True)
class Found(Generic[Item, Mark]):
    """A page, the newest first. ``following``: what to go on after; None at the end of all."""

    items: Sequence[Item]
    following: Mark | None
    looked_at_all: bool  # False where the window ended before the page was full


def look_through(
    connection: Connection,
    rows: Select[Any],
    place: Sequence[Column[Any]],
    filters: Sequence[ColumnElement[bool]],
    *,
    after: Sequence[Any] | None,
    limit: int,
    item: Callable[[Row[Any]], Item],
    mark: Callable[[Row[Any]], Mark],
) -> Found[Item, Mark]:
    """Those of ``rows`` that pass ``filters``, at most ``limit``, by ``place`` from the last on.

    ``place`` must be unique, and behind what ``rows`` already asks for the end of an index: of
    that a search reads at most ``WINDOW`` entries behind the place ``after``, and where there are
    more, the page says what to go on after. ``mark`` is made of a row's place and id.
    """
    at = tuple_(*place)
    if after is not None:
        rows = rows.where(at < tuple_(*after))
    rows = rows.order_by(*(column.desc() for column in place))
    wanted = rows.where(*filters).limit(limit + 1)
    end: Row[Any] | None = None
    if filters:
        marks = dict.fromkeys((*place, place[0].table.c.id))
        last = rows.with_only_columns(*marks).offset(WINDOW - 1).limit(1)
        end = connection.execute(last).one_or_none()
        if end is not None:
            wanted = wanted.where(at >= tuple_(*(end._mapping[column] for column in place)))
    found = connection.execute(wanted).all()
    items = [item(row) for row in found[:limit]]
    if len(found) > limit:
        return Found(items, mark(found[limit - 1]), True)
    return Found(items, None if end is None else mark(end), end is None)
