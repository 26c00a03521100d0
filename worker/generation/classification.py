"""The classification request, checked in one place, and its answer.

It travels like a completion, as a `GenerateRequest` of another task: the engine reads all texts
together beside whatever else it does, and one whose reader has left is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator

from textgen.options import Options, SamplingOptions
from worker.contracts import BundleReference, ChoiceDelta, GenerateRequest
from worker.errors import Unavailable
from worker.generation.answer import Answer
from worker.generation.text_lists import check_input


class ClassifyBody(Options):
    """Body of ``POST /v1/classify``."""

    model: str = Field(min_length=1, max_length=300)
    input: tuple[str, ...] = Field(min_length=1, description="a text, or a list of texts")
    top_k: int | None = Field(None, ge=1, description="labels to tell of each text; null for all")
    user: str | None = Field(None, max_length=1000)

    @field_validator(
        "input",
        mode="before",
        json_schema_input_type=str | Annotated[list[str], Field(min_length=1)],
    )
    @classmethod
    def _list_of_texts(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> ClassifyBody:
        """Check a request body; raise InvalidOption naming the field, the value, the way out."""
        return cls.parse(body)

    def check_limits(self, *, max_characters: int, max_texts: int) -> None:
        """Refuse what is too large for one request; raise InvalidOption."""
        check_input(
            self.input,
            max_length=max_characters,
            max_texts=max_texts,
            unit="characters",
            advice="Send the part that tells most of its class.",
        )

    def to_request(self, request_id: str, bundle: BundleReference) -> GenerateRequest:
        """The message for the worker."""
        return GenerateRequest(
            id=request_id,
            bundle=bundle,
            prompts=self.input,
            task="classify",
            options=SamplingOptions(max_tokens=1),
            seed=0,
        )


class ClassAnswer(Answer):
    """Gathers the chances of every text; ``labels`` are the model's, in its order."""

    def __init__(self, texts: int, labels: Sequence[str], top_k: int | None) -> None:
        super().__init__(texts)
        self._labels = tuple(labels)
        self._top_k = top_k
        self._chances: dict[int, tuple[float, ...]] = {}

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in what was found."""
        self._chances |= {each.index: each.chances for each in deltas if each.chances is not None}

    def fresh(self) -> ClassAnswer:
        """The same answer with nothing in it yet."""
        return ClassAnswer(self.choices, self._labels, self._top_k)

    def body(self, request_id: str, model: str) -> dict[str, Any]:
        """The ``list`` of classifications of a finished answer.

        Raises Unavailable where a worker of an older version has answered.
        """
        if len(self._chances) < self.choices:
            raise Unavailable(
                "The generation worker that took the request cannot classify: it is of an older "
                "version. Restart it, then send the request again."
            )
        tokens = self.usage.prompt_tokens
        return {
            "id": request_id,
            "object": "list",
            "created": int(time.time()),
            "model": model,
            "data": [self._classification(index) for index in range(self.choices)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _classification(self, index: int) -> dict[str, Any]:
        chances = self._chances[index]
        order = sorted(range(len(chances)), key=lambda place: -chances[place])
        ranked = [{"label": self._labels[place], "probability": chances[place]} for place in order]
        return {
            "index": index,
            "object": "classification",
            **ranked[0],
            "probabilities": ranked[: self._top_k],
        }
