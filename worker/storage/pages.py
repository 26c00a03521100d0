"""One page of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and whether more follow; go on with the last one's id."""

    items: Sequence[Item]
    has_more: bool


def cut(items: Sequence[Item], limit: int) -> Page[Item]:
    """The page out of up to ``limit`` + 1 items that were looked up."""
    return Page(items[:limit], has_more=len(items) > limit)
