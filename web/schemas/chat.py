"""The answer of a chat completion; its request is `worker.generation.chat.ChatBody`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.schemas.base import Shape
from web.schemas.completions import CompletionUsage


class Reply(Shape):
    """What the assistant says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(Shape):
    """One reply. A chunk of a stream has ``delta`` in the place of ``message``."""

    index: int
    message: Reply
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]
    state_id: str | None = Field(
        None, description="with return_state: to go on from the end of the reply"
    )


class ChatCompletion(Shape):
    """A whole answer; the chunks of a streamed one are ``chat.completion.chunk`` objects."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: CompletionUsage
