"""What scorings and evaluations have in common: a model, a text, and where the job is."""

from __future__ import annotations

from typing import Any

from textgen.reading_options import ReadingOptions
from web.schemas.base import JobError, Shape
from web.schemas.jobs import State

# Neither makes or changes a model. Who may train may measure what was trained, and who may
# generate may ask the same model how likely a text is: so either scope is enough.
TEXT_PURPOSES = ("user_data", "fine-tune", "evals")


class Measurement(Shape):
    """A job that measures. Times are seconds since 1970."""

    id: str
    status: State
    model: str
    file: str | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    estimated_finish: int | None
    progress: dict[str, Any]
    error: JobError | None
    metadata: dict[str, Any]


def reading_of(body: ReadingOptions) -> dict[str, Any]:
    """How a body says that its file is to be read."""
    return body.model_dump(include=set(ReadingOptions.model_fields), exclude_none=True)
