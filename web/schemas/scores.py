"""Scorings: how surprising each row of a text is to a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from textgen.errors import InvalidOption
from textgen.reading_options import ReadingOptions
from web.schemas.base import Body, Id, Metadata, Shape
from web.schemas.measurements import Measurement
from worker.scoring.summary import ScoreSummary

MAX_TEXTS = 256
MAX_CHARACTERS = 32_768  # of all texts together; a file may have as many as it likes

Text = Annotated[str, Field(min_length=1)]


class ScoreBody(Body, ReadingOptions):
    """A scoring to start: of a file, or of some texts."""

    model: Id
    format: Literal["lines", "jsonl", "csv", "parquet"] | None = Field(
        None, description="from the file's name where not given; what is none of these is lines"
    )
    file: Id | None = Field(None, description="with the purpose user_data, fine-tune or evals")
    input: Text | list[Text] | None = Field(
        None, max_length=MAX_CHARACTERS, description="short texts instead of a file"
    )
    worst: int = Field(20, ge=1, le=1000, description="rows in the summary, the worst first")
    metadata: Metadata | None = None

    @property
    def texts(self) -> list[str]:
        """The texts of ``input``."""
        if self.input is None:
            return []
        return [self.input] if isinstance(self.input, str) else self.input

    @field_validator("input")
    @classmethod
    def _short_texts(cls, value: str | list[str] | None) -> str | list[str] | None:
        texts = [value] if isinstance(value, str) else value or []
        if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARACTERS:
            raise ValueError(
                f"at most {MAX_TEXTS} texts with {MAX_CHARACTERS:,} characters; upload more as a "
                "file and name it in 'file'"
            )
        return value

    def check_one(self) -> None:
        """Raise InvalidOption unless there is one thing to score."""
        if (self.file is None) == (self.input is None):
            raise InvalidOption("Give 'file' or 'input', one of them.", param="file")


class ScoreObject(Measurement):
    """A scoring; ``summary`` has the worst 20 rows, its file as many as were asked for."""

    object: Literal["score"] = "score"
    worst: int
    reading: dict[str, Any] = Field(description="how the file is read, as far as it was said")
    summary: ScoreSummary | None
    scores_file_id: str | None = Field(description="JSON lines: a row's score each, in their order")
    summary_file_id: str | None


class ScoreList(Shape):
    """A page of scorings, newest first."""

    object: Literal["list"] = "list"
    data: list[ScoreObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
