"""The answers of tokenize and detokenize; `worker.generation.tokenization` has their requests."""

from __future__ import annotations

from web.schemas.base import Shape


class Tokens(Shape):
    """A text as ids. ``max_model_len``: the characters that one request may have."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(Shape):
    """The text of ids."""

    prompt: str
