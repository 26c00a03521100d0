"""Scores as they are written: a JSON line a row, and sums of many rows with the worst of them."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from textgen.options import Options

if TYPE_CHECKING:
    from textgen.evaluation.scoring import RowScore

ROWS_FILE = "rows.jsonl"
SUMMARY_FILE = "summary.json"
SHOWN = 200  # characters of a row's text that are written with its score
DIGITS = 6


class ScoredRow(Options):
    """A row under a model; nats are minus the logarithm of its probability."""

    index: int = Field(description="of the row, from 0; empty rows are not counted")
    line: int = Field(description="of the file, from 1, on which the row ends")
    text: str = Field(description=f"the row, or its first {SHOWN} characters")
    characters: int
    tokens: int
    nats: float
    nats_per_character: float
    most_surprising: int | None = Field(description="offset of the character that cost most")

    @classmethod
    def of(cls, index: int, line: int, score: RowScore) -> ScoredRow:
        """The library's score of a row, for reading and for programs."""
        return cls(
            index=index,
            line=line,
            text=score.text[:SHOWN],
            characters=score.characters,
            tokens=score.tokens,
            nats=round(score.nats, DIGITS),
            nats_per_character=round(score.nats_per_character, DIGITS),
            most_surprising=score.most_surprising,
        )

    def as_line(self) -> bytes:
        """A line of JSON."""
        return (json.dumps(self.model_dump(), ensure_ascii=False) + "\n").encode()


class ScoreSummary(Options):
    """Sums of many rows, and the rows of most nats a character, the worst first."""

    rows: int
    characters: int
    tokens: int
    nats: float
    nats_per_character: float
    bits_per_character: float
    nats_per_token: float
    perplexity: float | None = Field(description="of a token; null where it is beyond all numbers")
    worst: tuple[ScoredRow, ...]

    @classmethod
    def of(cls, rows: Sequence[ScoredRow], worst: int) -> ScoreSummary:
        """Of some rows; at least one."""
        return cls._of(
            len(rows),
            sum(row.characters for row in rows),
            sum(row.tokens for row in rows),
            math.fsum(row.nats for row in rows),
            worst_of(rows, worst),
        )

    @classmethod
    def joined(cls, parts: Sequence[ScoreSummary], worst: int) -> ScoreSummary:
        """Of all rows of the parts, which come in the order of their rows."""
        return cls._of(
            sum(part.rows for part in parts),
            sum(part.characters for part in parts),
            sum(part.tokens for part in parts),
            math.fsum(part.nats for part in parts),
            worst_of([row for part in parts for row in part.worst], worst),
        )

    @classmethod
    def _of(
        cls, rows: int, characters: int, tokens: int, nats: float, worst: Iterable[ScoredRow]
    ) -> ScoreSummary:
        a_token = nats / tokens
        return cls(
            rows=rows,
            characters=characters,
            tokens=tokens,
            nats=round(nats, DIGITS),
            nats_per_character=round(nats / characters, DIGITS),
            bits_per_character=round(nats / characters / math.log(2), DIGITS),
            nats_per_token=round(a_token, DIGITS),
            perplexity=round(math.exp(a_token), DIGITS) if a_token < 700 else None,
            worst=tuple(worst),
        )


def worst_of(rows: Iterable[ScoredRow], count: int) -> list[ScoredRow]:
    """The rows of most nats a character, the worst first; equal ones in their order."""
    return heapq.nlargest(count, rows, key=lambda row: row.nats_per_character)
