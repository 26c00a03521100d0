"""What an evaluation child is told."""

from __future__ import annotations

from pathlib import Path

from textgen.evaluation.options import EvaluationOptions
from textgen.reading_options import ReadingOptions
from worker.children.process import Order
from worker.children.sources import SourceFile


class EvaluationOrder(Order):
    """All that a child needs to measure a model; without a file, on what was held out."""

    model: Path
    file: SourceFile | None = None
    reading: ReadingOptions = ReadingOptions()
    training_files: tuple[SourceFile, ...] = ()
    training_reading: ReadingOptions = ReadingOptions()
    options: EvaluationOptions
    title: str
