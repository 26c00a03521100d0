"""Models and their aliases."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.schemas.base import SUFFIX_PATTERN, Body, Id, Shape, Suffix


class ModelObject(Shape):
    """A model; presets are shapes to train, everything else generates."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    description: str | None = None
    base: str | None = Field(None, description="what its training started from")
    job_id: str | None = Field(None, description="the training that made it")
    objectives: list[str] | None = Field(
        None,
        description="what it has learnt: causal goes on with a text, infill fills gaps, classify "
        "tells classes apart",
    )
    rows: str | None = Field(
        None,
        description="text, prompts, messages or labels: what it learnt from, and how it is asked",
    )
    labels: list[str] | None = Field(None, description="the classes that it tells apart")
    licence: str | None = Field(
        None, description="what others may do with it, as its training was told"
    )
    copy_index: int | None = Field(
        None, description="how low reject_if_copied_over can be; null where it cannot be asked for"
    )
    classification: dict[str, Any] | None = Field(
        None, description="how well it does so, class by class, on the validation rows"
    )
    corpus: dict[str, Any] | None = Field(
        None, description="what its text was: sizes, symbols, what was masked or left out"
    )
    metrics: dict[str, Any] | None = Field(None, description="losses are nats per token")
    generation_defaults: dict[str, Any] | None = Field(
        None, description="what suits the model, measured on its validation text"
    )
    parameters: int | None = Field(None, description="how many numbers it has learnt")
    architecture: dict[str, Any] | None = Field(None, description="layers and their widths")
    tokenizer: str | None = None
    vocab_size: int | None = Field(None, description="symbols of the tokenizer")


class ModelForm(Body):
    """The fields of an imported model beside its file."""

    alias: str | None = Field(None, min_length=1, max_length=64)
    suffix: Suffix | None = None


IMPORT_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "alias": {
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "description": "a name that points to the model",
        },
        "suffix": {
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "pattern": SUFFIX_PATTERN,
            "description": "becomes a part of the model's id",
        },
    },
}


class ModelList(Shape):
    """All models at once, as OpenAI's list has them: it is not paged.

    The official client reads one answer of ``models.list()`` and asks for no second one, whatever
    ``has_more`` says, and so do those that look for a name in it: what a page left out would not be
    there for them. A page of models, searched and sorted, is for people: the dashboard has it.
    """

    object: Literal["list"] = "list"
    data: list[ModelObject]


class AliasBody(Body):
    """Where an alias shall point."""

    model: Id = Field(description="id of a trained model")


class AliasObject(Shape):
    """A name of the user's own for a model; it can be moved at any time."""

    id: str
    object: Literal["alias"] = "alias"
    model: str
    updated_at: int


class AliasList(Shape):
    """All aliases."""

    object: Literal["list"] = "list"
    data: list[AliasObject]
