"""Trainings, as OpenAI words them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from textgen.errors import InvalidInput, InvalidOption
from textgen.options import Hyperparameters
from web.schemas.base import (
    OF,
    Body,
    Extensible,
    Id,
    JobError,
    Metadata,
    PageQuery,
    Shape,
    Suffix,
)

HyperparametersGiven = Annotated[dict[str, Any], Field(json_schema_extra={OF: "Hyperparameters"})]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Supervised(Body):
    """Options of the one method there is."""

    hyperparameters: HyperparametersGiven | None = None


class Method(Body):
    """How to train."""

    type: Literal["supervised"]
    supervised: Supervised | None = None


class TrainingBody(Body):
    """A training to start."""

    model: Id = Field(description="a preset to start from scratch, or a model to continue from")
    training_file: Id
    training_files: list[Id] = Field(
        [], max_length=1000, description="further files of the same kind, read after the first"
    )
    validation_file: Id | None = None
    test_file: Id | None = Field(
        None, description="measured once at the end; nothing is chosen by it"
    )
    replay_files: list[Id] = Field(
        [],
        max_length=1000,
        description="what a model to continue from is not to forget; with replay_fraction alone "
        "the files that it was trained on",
    )
    embeddings_file: Id | None = Field(
        None,
        description="word vectors (text, as word2vec, GloVe and fastText write them) that the "
        "embedding of a new model begins with",
    )
    method: Method | None = None
    hyperparameters: HyperparametersGiven | None = Field(
        None, description="the older place for what method.supervised.hyperparameters says"
    )
    suffix: Suffix | None = Field(None, description="becomes a part of the model's id")
    seed: Seed | None = None
    metadata: Metadata | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="none are supported"
    )
    alias: str | None = Field(
        None, min_length=1, max_length=64, description="a name that will point to the new model"
    )

    def chosen(self) -> dict[str, Any]:
        """The hyperparameters given and nothing else, checked; raises InvalidOption."""
        supervised = None if self.method is None else self.method.supervised
        inner = None if supervised is None else supervised.hyperparameters
        if inner is not None and self.hyperparameters is not None:
            raise InvalidOption(
                "Give the hyperparameters once: in 'hyperparameters' or in "
                "'method.supervised.hyperparameters'.",
                param="hyperparameters",
            )
        within = "hyperparameters" if inner is None else "method.supervised.hyperparameters"
        given = self.hyperparameters if inner is None else inner
        for name in given or ():
            if name in type(self).model_fields and name not in Hyperparameters.model_fields:
                raise InvalidOption(
                    f"{name!r} is given in {within!r}; it stands beside it, in the body itself.",
                    code="unknown_option",
                    param=f"{within}.{name}",
                )
        checked = Hyperparameters.parse({} if given is None else given, within=within)
        return checked.model_dump(mode="json", exclude_unset=True)

    def chosen_seed(self, hyperparameters: dict[str, Any], fresh: int) -> int:
        """The seed of the training: given in one of two places, or ``fresh``."""
        inner = hyperparameters.get("seed")
        if inner is not None and self.seed is not None and inner != self.seed:
            raise InvalidInput(f"'seed' is {self.seed} and in the hyperparameters {inner}.")
        given = self.seed if inner is None else inner
        return fresh if given is None else int(given)


class MetadataQuery(PageQuery):
    """A page of trainings."""

    metadata: Metadata | None = None


class CheckpointQuery(PageQuery):
    """A page of checkpoints."""

    limit: int = Field(10, ge=1, le=100)


TrainingStatus = Literal[
    "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]


class MethodView(Shape):
    """How a job trains."""

    type: Literal["supervised"] = "supervised"
    supervised: dict[str, Any]


class FineTuningJob(Shape):
    """A training. ``progress`` and ``waiting`` come beside what OpenAI's object has."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    status: TrainingStatus
    error: JobError | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    training_file: str
    training_files: list[str] = Field(description="further files, as in the request")
    validation_file: str | None
    test_file: str | None
    replay_files: list[str] = Field(description="of what the model to continue from is to keep")
    embeddings_file: str | None = Field(description="word vectors to begin with")
    result_files: list[str]
    trained_tokens: int | None
    seed: int
    hyperparameters: dict[str, Any]
    method: MethodView
    metadata: dict[str, str]
    integrations: list[Any]
    progress: dict[str, Any]


class FineTuningJobList(Shape):
    """A page of trainings."""

    object: Literal["list"] = "list"
    data: list[FineTuningJob]
    has_more: bool


class FineTuningEvent(Shape):
    """Something that happened; losses in ``data`` are nats per token."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class FineTuningEventList(Shape):
    """A page of events, newest first."""

    object: Literal["list"] = "list"
    data: list[FineTuningEvent]
    has_more: bool


class CheckpointMetrics(Extensible):
    """What was measured at the checkpoint; losses are nats per token."""

    step: float | None = None
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None


class CheckpointObject(Shape):
    """A state of a training that can already generate."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics


class CheckpointList(Shape):
    """A page of checkpoints, newest first."""

    object: Literal["list"] = "list"
    data: list[CheckpointObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
