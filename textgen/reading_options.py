"""How a file of text is read, where its name does not say it."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

from pydantic import Field

from textgen.option_model import Options

CorpusFormat = Literal["text", "lines", "jsonl", "csv", "parquet"]
_SUFFIXES: dict[str, CorpusFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


def format_by_name(name: str) -> CorpusFormat:
    """What a file holds, as far as the ending of its name says it."""
    return _SUFFIXES.get(PurePath(name).suffix.lower(), "text")


class ReadingOptions(Options):
    """Its format, the columns of a table, its encoding."""

    format: CorpusFormat | None = Field(
        None, description="text, lines, jsonl, csv or parquet; from the file's name where not given"
    )
    column: str | None = Field(
        None, max_length=200, description="the text column of a csv or parquet file"
    )
    prompt_column: str | None = Field(
        None, max_length=200, description="of a csv or parquet file with prompts and completions"
    )
    completion_column: str | None = Field(None, max_length=200, description="goes with it")
    label_column: str | None = Field(
        None, max_length=200, description="of a csv or parquet file of texts with labels"
    )
    encoding: str | None = Field(
        None,
        max_length=40,
        description="of the file; detected where not given. Those of Parquet files are UTF-8",
    )

    @classmethod
    def of(cls, options: ReadingOptions) -> ReadingOptions:
        """This part of options that say more, as those of a training."""
        return ReadingOptions(
            **{name: getattr(options, name) for name in ReadingOptions.model_fields}
        )
