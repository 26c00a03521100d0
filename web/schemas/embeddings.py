"""The answer of an embeddings request; `worker.generation.embeddings` has its request."""

from __future__ import annotations

from typing import Literal

from web.schemas.base import Shape


class Embedding(Shape):
    """The vector of one text, of length 1: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Shape):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Shape):
    """One for each text, in their order."""

    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: EmbeddingsUsage
