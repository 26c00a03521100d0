"""States of texts, and the tokens that may come next."""

from __future__ import annotations

from typing import Literal

from web.schemas.base import PageQuery, Shape


class StateObject(Shape):
    """A state; ``tokens`` were read and written up to there, ``bytes`` is what it takes."""

    id: str
    object: Literal["state"] = "state"
    created_at: int
    expires_at: int
    model: str
    tokens: int
    bytes: int


class StateQuery(PageQuery):
    """A page of states."""


class StateList(Shape):
    """A page of states, the newest first."""

    object: Literal["list"] = "list"
    data: list[StateObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class NextToken(Shape):
    r"""A token that may come next.

    ``text`` is ``bytes:\xe4`` for a part of a character, and empty for the end of a document.
    """

    token: int
    text: str
    probability: float
    logprob: float


class PromptUsage(Shape):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class NextTokens(Shape):
    """The likeliest next tokens, the likeliest first, and the state before them.

    It is null where the service keeps no states.
    """

    id: str
    object: Literal["next_tokens"] = "next_tokens"
    created: int
    model: str
    state_id: str | None
    data: list[NextToken]
    usage: PromptUsage
