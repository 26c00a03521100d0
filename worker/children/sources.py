"""Files of text in an order: where they lie on this machine, and how they are read."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from textgen.corpus.sources import Source
from textgen.options import CorpusFormat, Hyperparameters, Options


class ReadingOptions(Options):
    """How a file of text is read, where its name does not say it."""

    format: CorpusFormat | None = Field(
        None, description="text, lines, jsonl or csv; from the file's name where not given"
    )
    column: str | None = Field(None, max_length=200, description="the text column of a csv file")
    prompt_column: str | None = Field(
        None, max_length=200, description="of a csv file with prompts and completions"
    )
    completion_column: str | None = Field(None, max_length=200, description="goes with it")
    label_column: str | None = Field(
        None, max_length=200, description="of a csv file with texts and labels"
    )
    encoding: str | None = Field(
        None, max_length=40, description="of the file; detected where not given"
    )

    @classmethod
    def of_training(cls, hyperparameters: Hyperparameters) -> ReadingOptions:
        """As a training reads its files."""
        return cls(**{name: getattr(hyperparameters, name) for name in cls.model_fields})


class SourceFile(Options):
    """A text as it lies on this machine; ``name`` is what the user calls it."""

    path: Path
    name: str

    def source(self, reading: ReadingOptions) -> Source:
        """The file with how it is read."""
        return Source(path=self.path, name=self.name, **reading.model_dump())
