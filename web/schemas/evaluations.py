"""Evaluations: how well a model does."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from textgen.evaluation.options import EvaluationOptions
from textgen.reading_options import ReadingOptions
from web.schemas.base import OF, Body, Id, Metadata, Shape
from web.schemas.measurements import Measurement

OptionsGiven = Annotated[dict[str, Any], Field(json_schema_extra={OF: "EvaluationOptions"})]


class EvaluationBody(Body, ReadingOptions):
    """An evaluation to start; without ``file``, on what was held out of the model's training."""

    model: Id
    file: Id | None = Field(
        None, description="a text of the kind that the model learnt from, to measure on"
    )
    options: OptionsGiven | None = None
    metadata: Metadata | None = None

    def chosen(self) -> dict[str, Any]:
        """The options given and nothing else, checked; raises InvalidOption."""
        given = {} if self.options is None else self.options
        checked = EvaluationOptions.parse(given, within="options")
        return checked.model_dump(mode="json", exclude_unset=True)


class EvaluationObject(Measurement):
    """An evaluation; ``summary`` has the report's figures, its files the whole."""

    object: Literal["evaluation"] = "evaluation"
    training_files: list[str] = Field(
        description="of the model's training, as far as they are there"
    )
    reading: dict[str, Any] = Field(description="how the file is read, as far as it was said")
    options: dict[str, Any]
    summary: dict[str, Any] | None
    report_file_id: str | None = Field(description="the report as JSON")
    page_file_id: str | None = Field(description="the report as a page")


class EvaluationList(Shape):
    """A page of evaluations, newest first."""

    object: Literal["list"] = "list"
    data: list[EvaluationObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
