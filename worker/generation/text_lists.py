"""Texts in requests: how a list of them may be written, and how large it may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StrictInt

from textgen.errors import InvalidOption

Prompt = str | tuple[StrictInt, ...]
TokenId = Annotated[StrictInt, Field(ge=0)]
TokenIds = Annotated[tuple[TokenId, ...], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
# How requests write what `listed` makes a list of, for their schema; Texts may not be empty.
Prompts = str | Annotated[list[str | list[TokenId]], Field(min_length=1)] | TokenIds
Texts = Text | Annotated[list[Text | TokenIds], Field(min_length=1)] | TokenIds


def listed(value: object) -> object:
    """OpenAI takes a string, strings, token ids, or lists of token ids; all become a list."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        return (tuple(value),)
    return value


def check_input(
    texts: Sequence[Prompt], *, max_length: int, max_texts: int, unit: str, advice: str
) -> None:
    """Refuse an ``input`` that is too large for one request; raise InvalidOption.

    ``unit`` is what its texts may be made of; ``advice``, what to do about one that is too long.
    """
    longest = max(map(len, texts))
    if longest > max_length:
        raise InvalidOption(
            f"'input' has a text of {longest:,} {unit}; the limit is {max_length:,}. {advice}",
            code="prompt_too_long",
            param="input",
        )
    if len(texts) > max_texts:
        raise InvalidOption(
            f"'input' has {len(texts):,} texts; the limit for one request is {max_texts:,}. Send "
            "them in several requests, or as a batch.",
            code="too_many_texts",
            param="input",
        )
