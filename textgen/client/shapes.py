"""What the service answers. Fields that a later service adds are kept, and read as attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

JobState = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


class Shape(BaseModel):
    """An answer; it cannot be changed."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: all of it, and the state from which the service goes on at once.

    A place stays what it is: what is written from it is another, so an earlier one is the undo,
    and two that were written from one are branches.
    """

    model: str
    text: str = ""
    state_id: str | None = None
    finish_reason: str | None = None


class JobError(Shape):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class Job(Shape):
    """A job of any kind. Times are seconds since 1970."""

    id: str
    kind: str
    state: JobState
    phase: str | None
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: JobError | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    metadata: dict[str, Any]
    spec: dict[str, Any]


class Event(Shape):
    """Something that happened to a job; ``id`` counts from 1 within it."""

    id: int
    job_id: str
    created_at: float
    level: Literal["info", "warn", "error"]
    type: str
    message: str
    data: dict[str, Any]


class NextToken(Shape):
    r"""A token that may come next; its text is ``bytes:\xe4`` for a part of a character."""

    token: int
    text: str
    probability: float
    logprob: float


class NextTokens(Shape):
    """The likeliest next tokens, the likeliest first, and the state before them."""

    model: str
    state_id: str | None
    data: tuple[NextToken, ...]


class State(Shape):
    """A state that the service keeps. Times are seconds since 1970."""

    id: str
    created_at: int
    expires_at: int
    model: str
    tokens: int
    bytes: int


class InsertedSpan(Shape):
    """Characters ``start`` to ``end`` of the new text, which were not there before."""

    start: int
    end: int
    text: str
    mean_logprob: float


class Insertion(Shape):
    """The longer text, and what is new in it, in its order."""

    model: str
    text: str
    insertions: tuple[InsertedSpan, ...]


class LabelChance(Shape):
    """A label and how likely it is."""

    label: str
    probability: float


class Classification(Shape):
    """The likeliest label of a text, and the others, the likeliest first."""

    index: int
    label: str
    probability: float
    probabilities: tuple[LabelChance, ...]


class Tokens(Shape):
    """A text as a model's ids, and what each of them stands for."""

    count: int
    tokens: tuple[int, ...]
    token_strs: tuple[str, ...] | None


class Measurement(Shape):
    """A job that measures, as far as it is."""

    id: str
    status: JobState
    model: str
    file: str | None
    error: JobError | None


class ScoredRow(Shape):
    """A row under a model; nats are minus the logarithm of its probability."""

    index: int
    line: int
    text: str
    characters: int
    tokens: int
    nats: float
    nats_per_character: float
    most_surprising: int | None


class ScoreSummary(Shape):
    """Sums of all rows, and those of most nats a character, the worst first."""

    rows: int
    characters: int
    tokens: int
    nats_per_character: float
    bits_per_character: float
    perplexity: float | None
    worst: tuple[ScoredRow, ...]


class Score(Measurement):
    """How surprising each row of a text is; the file has a line of JSON for each."""

    summary: ScoreSummary | None
    scores_file_id: str | None


class Evaluation(Measurement):
    """How well a model does; the files are the whole report, as JSON and as a page."""

    summary: dict[str, Any] | None
    report_file_id: str | None
    page_file_id: str | None


class Examination(Shape):
    """A look at a text before anybody trains on it; the report is the doctor's."""

    id: str
    status: JobState
    file: str
    seconds: float
    report: dict[str, Any] | None
    error: JobError | None


class LikelyToken(Shape):
    """A token that was likely at some place."""

    text: str
    probability: float


class TracedToken(Shape):
    """A token, how surprising it was (None for the first), and what was likeliest in its place."""

    text: str
    nats: float | None
    likeliest: tuple[LikelyToken, ...]


class TracedUnit(Shape):
    """A unit of the LSTM along the text: its values, and which kinds of characters it goes with."""

    unit: str
    spread: float
    kinds: dict[str, float]
    values: tuple[float, ...]


class Traces(Shape):
    """How a model reads a text."""

    tokens: tuple[TracedToken, ...]
    units: tuple[TracedUnit, ...]
