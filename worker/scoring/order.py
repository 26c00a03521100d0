"""What is asked of a scoring, and what its child is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from textgen.corpus.sources import Source
from textgen.options import Options
from worker.children.process import Order, SourceFile


class RowOptions(Options):
    """How a file is read as rows. By itself its name says it: .jsonl, .csv, else a row a line."""

    format: Literal["lines", "jsonl", "csv"] | None = Field(
        None, description="lines, jsonl or csv; from the file's name where not given"
    )
    column: str | None = Field(None, max_length=200, description="the text column of a csv file")
    encoding: str | None = Field(
        None, max_length=40, description="of the file; detected where not given"
    )

    def source(self, file: SourceFile) -> Source:
        """The file, to be read row by row."""
        source = Source(
            path=file.path,
            name=file.name,
            format=self.format,
            column=self.column,
            encoding=self.encoding,
        )
        return source if source.has_documents else replace(source, format="lines")


class ScoringPlan(Options):
    """How the rows are cut into shards: fixed when they are counted, so that all agree."""

    rows: int
    characters: int
    shard_rows: int = 2048  # each some seconds of work: what a worker that dies costs
    shard_characters: int = 1 << 18  # or so many, with the row that reaches it


class ScoringOrder(Order):
    """All that a child needs to score: a model, and a file or some texts."""

    model: Path
    file: SourceFile | None = None
    options: RowOptions = RowOptions()
    texts: tuple[str, ...] = ()
    worst: int
    plan: ScoringPlan | None = None
    done: int = 0  # shards that are safe already, from the first on
