"""The embeddings request as OpenAI words it, checked in one place, and its answer."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from textgen.errors import InvalidOption
from textgen.option_model import Options
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, ChoiceDelta, GenerateRequest
from worker.errors import Unavailable
from worker.generation.answer import Answer
from worker.generation.text_lists import Prompt, Texts, check_input, listed

Encoding = Literal["float", "base64"]


class EmbeddingsBody(Options):
    """Body of ``POST /v1/embeddings``."""

    model: str = Field(min_length=1, max_length=300)
    input: tuple[Prompt, ...] = Field(
        min_length=1, description="a text, texts, token ids, or lists of token ids; none empty"
    )
    encoding_format: Encoding = Field("float", description="base64 is of float32, little-endian")
    dimensions: int | None = Field(
        None, ge=1, description="the model's own number, or left out: vectors are not cut"
    )
    user: str | None = Field(None, max_length=1000)

    @field_validator("input", mode="before", json_schema_input_type=Texts)
    @classmethod
    def _list_of_texts(cls, value: object) -> object:
        return listed(value)

    @field_validator("input")
    @classmethod
    def _none_empty(cls, value: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
        if not all(value):
            raise ValueError("an empty text has no vector; leave it out")
        if any(token < 0 for each in value if not isinstance(each, str) for token in each):
            raise ValueError("a token id is negative")
        return value

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> EmbeddingsBody:
        """Check a request body; raise InvalidOption naming the field, the value, the way out.

        Null means that a field is left out.
        """
        return cls.parse({name: value for name, value in body.items() if value is not None})

    def check_limits(self, *, max_characters: int, max_texts: int) -> None:
        """Refuse what is too large for one request; raise InvalidOption."""
        check_input(
            self.input,
            max_length=max_characters,
            max_texts=max_texts,
            unit="characters or tokens",
            advice="Send it in parts, and take the mean of their vectors.",
        )

    def check_dimensions(self, shape: Mapping[str, Any]) -> None:
        """Refuse another number of dimensions than the model of this ``shape`` has."""
        own = int(shape.get("layers", 0)) * int(shape.get("hidden_size", 0))
        if self.dimensions is not None and own and self.dimensions != own:
            raise InvalidOption(
                f"'dimensions' is {self.dimensions}; vectors of this model have {own}, and are not "
                "cut, since each number counts as much as any other. Leave it out.",
                param="dimensions",
            )

    def to_request(self, request_id: str, bundle: BundleReference) -> GenerateRequest:
        """The message for the worker."""
        return GenerateRequest(
            id=request_id,
            bundle=bundle,
            prompts=self.input,
            task="embed",
            options=SamplingOptions(max_tokens=0),
            seed=0,
        )


class VectorsAnswer(Answer):
    """Gathers the vectors of all texts."""

    def __init__(self, texts: int, encoding: Encoding) -> None:
        super().__init__(texts)
        self._encoding: Encoding = encoding
        self._vectors: dict[int, str] = {}

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in what was found."""
        self._vectors |= {each.index: each.vector for each in deltas if each.vector is not None}

    def fresh(self) -> VectorsAnswer:
        """The same answer with nothing in it yet."""
        return VectorsAnswer(self.choices, self._encoding)

    def body(self, request_id: str, model: str) -> dict[str, Any]:  # noqa: ARG002 - none in it
        """The ``list`` of embeddings of a finished answer.

        Raises Unavailable where a worker of an older version has answered.
        """
        if len(self._vectors) < self.choices:
            raise Unavailable(
                "The generation worker that took the request cannot embed: it is of an older "
                "version. Restart it, then send the request again."
            )
        tokens = self.usage.prompt_tokens
        return {
            "object": "list",
            "model": model,
            "data": [
                {"object": "embedding", "index": index, "embedding": self._embedding(index)}
                for index in range(self.choices)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _embedding(self, index: int) -> str | list[float]:
        vector = self._vectors[index]
        if self._encoding == "base64":
            return vector
        raw = base64.b64decode(vector)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
