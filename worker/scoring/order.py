"""What is asked of a scoring, and what its child is told."""

from __future__ import annotations

from pathlib import Path

from textgen.options import Options
from textgen.reading_options import ReadingOptions
from worker.children.process import Order
from worker.children.sources import SourceFile


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
    reading: ReadingOptions = ReadingOptions()
    texts: tuple[str, ...] = ()
    worst: int
    plan: ScoringPlan | None = None
    done: int = 0  # shards that are safe already, from the first on
