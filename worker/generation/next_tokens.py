"""The request for the likeliest next tokens, checked in one place, and its answer.

The caller picks one and goes on from the state that comes with them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from textgen.errors import InvalidOption
from textgen.options import Options, SamplingOptions
from worker.contracts import BundleReference, ChoiceDelta, GenerateRequest, TokenLogprob
from worker.errors import Unavailable
from worker.generation.answer import Answer
from worker.generation.text_lists import TokenIds


class NextTokensBody(Options):
    """Body of ``POST /v1/next_tokens``: after a prompt, a state, or a state and what follows it."""

    model: str = Field(min_length=1, max_length=300)
    prompt: str | TokenIds = Field("", description="a text or token ids")
    state_id: str | None = Field(
        None, max_length=100, description="go on from this text; the prompt is what follows it"
    )
    top: int = Field(10, ge=1, le=1000, description="so many of the likeliest tokens")
    user: str | None = Field(None, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if value is not None or key == "model"}

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> Self:
        """Check a request body; raise InvalidOption naming the field, the value, the way out."""
        return cls.parse(body)

    def check_limits(self, *, max_characters: int) -> None:
        """Refuse what is too large for one request; raise InvalidOption."""
        if len(self.prompt) > max_characters:
            raise InvalidOption(
                f"'prompt' has {len(self.prompt):,} characters or tokens; the limit is "
                f"{max_characters:,}. Send the end of the text, which is what the model remembers "
                "best.",
                code="prompt_too_long",
                param="prompt",
            )

    def to_request(
        self, request_id: str, bundle: BundleReference, state: str | None
    ) -> GenerateRequest:
        """The message for the worker."""
        return GenerateRequest(
            id=request_id,
            bundle=bundle,
            prompts=(self.prompt,),
            task="choose",
            options=SamplingOptions(max_tokens=1),
            seed=0,
            state=state,
            return_state=True,
            alternatives=self.top,
        )


class NextTokensAnswer(Answer):
    """Takes the alternatives; ``keep`` turns the packed state before them into its id.

    Without it no id is told.
    """

    def __init__(self, keep: Callable[[str], str] | None) -> None:
        super().__init__(1)
        self._keep = keep
        self._tokens: tuple[TokenLogprob, ...] = ()
        self._state: str | None = None

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in what was found."""
        for delta in deltas:
            self._tokens, self._state = delta.logprobs, delta.state

    def fresh(self) -> NextTokensAnswer:
        """The same answer with nothing in it yet."""
        return NextTokensAnswer(self._keep)

    def body(self, request_id: str, model: str) -> dict[str, Any]:
        """The ``next_tokens`` object; Unavailable where a worker of an older version answered."""
        if self._state is None:
            raise Unavailable(
                "The generation worker that took the request knows no next tokens: it is of an "
                "older version. Restart it, then send the request again."
            )
        tokens = self.usage.prompt_tokens
        return {
            "id": request_id,
            "object": "next_tokens",
            "created": int(time.time()),
            "model": model,
            "state_id": None if self._keep is None else self._keep(self._state),
            "data": [_alternative(each) for each in self._tokens],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }


def _alternative(token: TokenLogprob) -> dict[str, Any]:
    """Its text is empty for the end of a document."""
    logprob = -math.inf if token.logprob is None else token.logprob
    return {
        "token": token.token,
        "text": token.text,
        "probability": math.exp(logprob),
        "logprob": logprob,
    }
