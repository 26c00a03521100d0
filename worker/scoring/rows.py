"""Rows on their way to a model: read, counted, and cut into shards, always in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from textgen.corpus.documents import text_of
from textgen.corpus.sources import read_rows
from textgen.errors import InvalidCorpus
from worker.scoring.order import ScoringOrder, ScoringPlan


@dataclass(frozen=True, slots=True)
class Row:
    """A text to be scored. ``index`` counts rows from 0, ``line`` lines of the file from 1."""

    index: int
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Shard:
    """Some consecutive rows."""

    index: int
    rows: Sequence[Row]


def read(order: ScoringOrder) -> Iterator[Row]:
    """The rows of an order; empty ones are left out. Raises InvalidCorpus."""
    if order.file is None:
        numbered: Iterable[tuple[int, str]] = enumerate(order.texts, 1)
    else:
        source = order.file.source(order.reading)
        found = read_rows(source if source.has_documents else replace(source, format="lines"))
        numbered = ((line, text_of(document)) for line, document in found)
    full = ((line, text) for line, text in numbered if text)
    for index, (line, text) in enumerate(full):
        yield Row(index, line, text)


def count(rows: Iterable[Row], name: str) -> tuple[ScoringPlan, list[int]]:
    """The plan, and the number of rows of each shard. Raises InvalidCorpus where there are none."""
    characters = total = 0
    sizes = []
    for shard in cut(rows, ScoringPlan(rows=0, characters=0)):
        sizes.append(len(shard.rows))
        total += len(shard.rows)
        characters += sum(len(row.text) for row in shard.rows)
    if not total:
        raise InvalidCorpus(
            f"{name} has no rows to score: it is empty, or all its lines are.", code="empty_file"
        )
    return ScoringPlan(rows=total, characters=characters), sizes


def cut(rows: Iterable[Row], plan: ScoringPlan) -> Iterator[Shard]:
    """The rows shard by shard. Where one ends depends on the rows before alone."""
    index, some, size = 0, list[Row](), 0
    for row in rows:
        some.append(row)
        size += len(row.text)
        if len(some) == plan.shard_rows or size >= plan.shard_characters:
            yield Shard(index, some)
            index, some, size = index + 1, [], 0
    if some:
        yield Shard(index, some)
