"""The answer of a completion; its request is `worker.generation.completions.CompletionBody`."""

from __future__ import annotations

from typing import Any, Literal

from web.schemas.base import Shape


class Choice(Shape):
    """One text; in a stream ``finish_reason`` is null until the last chunk."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"] | None


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
