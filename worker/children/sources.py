"""Files of text in an order: where they lie on this machine, and how they are read."""

from __future__ import annotations

from pathlib import Path

from textgen.corpus.sources import Source
from textgen.option_model import Options
from textgen.reading_options import ReadingOptions


class SourceFile(Options):
    """A text as it lies on this machine; ``name`` is what the user calls it."""

    path: Path
    name: str

    def source(self, reading: ReadingOptions) -> Source:
        """The file with how it is read."""
        return Source(self.path, name=self.name).read_as(reading)
