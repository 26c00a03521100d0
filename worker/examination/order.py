"""What an examination child is told."""

from __future__ import annotations

from pydantic import Field

from textgen.reading_options import ReadingOptions
from worker.children.process import Order
from worker.children.sources import SourceFile


class ExaminationOrder(Order):
    """All that a child needs to look a text over."""

    file: SourceFile
    reading: ReadingOptions = ReadingOptions()
    seconds: float = Field(gt=0, description="of the training that is meant")
