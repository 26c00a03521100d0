"""Examinations: a look at a text before anybody trains on it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from textgen.reading_options import ReadingOptions
from web.schemas.base import Body, Id, JobError, Metadata, Shape
from web.schemas.jobs import State


class ExaminationBody(Body, ReadingOptions):
    """A text to look over, with a training of ``seconds`` in mind."""

    file: Id = Field(description="with the purpose fine-tune, user_data or evals")
    seconds: float = Field(300, gt=0, le=30 * 86400, description="of the training that is meant")
    metadata: Metadata | None = None


class ExaminationObject(Shape):
    """An examination. Times are seconds since 1970."""

    id: str
    object: Literal["examination"] = "examination"
    status: State
    file: str
    seconds: float
    reading: dict[str, Any] = Field(description="how the file is read, as far as it was said")
    report: dict[str, Any] | None = Field(
        description="as `textgen doctor --json` prints it, once it has succeeded"
    )
    created_at: int
    started_at: int | None
    finished_at: int | None
    progress: dict[str, Any]
    error: JobError | None
    metadata: dict[str, Any]


class ExaminationList(Shape):
    """A page of examinations, newest first."""

    object: Literal["list"] = "list"
    data: list[ExaminationObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
