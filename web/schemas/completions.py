"""The answer of a completion; its request is `worker.generation.completions.CompletionBody`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from web.schemas.base import Shape


class Logprobs(Shape):
    """Of each token: its text, log-probability, the likeliest at its place, where it begins.

    Null for the first token of an echoed prompt.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(Shape):
    """One text; in a stream ``finish_reason`` is null until the last chunk."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None
    state_id: str | None = Field(
        None, description="with return_state, when the text has ended: to go on from there"
    )


class CompletionUsage(Shape):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(Shape):
    """A whole answer, or one chunk of a streamed one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[Choice]
    usage: CompletionUsage | None
