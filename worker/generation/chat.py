"""The chat completion request as OpenAI words it, checked in one place, and its answer.

The messages go to the model exactly as conversations stood in its training (marks, texts, ends:
`textgen.corpus.documents`), followed by the assistant's mark; the reply ends where a turn does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from textgen.errors import InvalidOption
from textgen.option_model import Options
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, ChatTurn, Conversation, GenerateRequest
from worker.generation.chat_answer import ChatAnswer
from worker.generation.completions import StreamOptions
from worker.generation.work import leave_out

MOST_TOKENS = 1_000_000
LONGEST_REPLY = 4096  # tokens, where the caller names no bound: a reply ends by itself

# Part of OpenAI's call, not of this service; the values that change nothing are accepted.
HARMLESS: Mapping[str, Sequence[object]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None, "medium"),
    "service_tier": (None, "auto", "default"),
    "store": (None, False),
    "metadata": (None, {}),
}
# What clients send along with messages that they have from elsewhere.
HARMLESS_IN_MESSAGE: Mapping[str, Sequence[object]] = {
    "refusal": (None,),
    "audio": (None,),
    "annotations": (None, []),
    "tool_calls": (None, []),
    "function_call": (None,),
}


class TextPart(Options):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Options):
    """What somebody said; ``name`` is not looked at, as in training."""

    role: Literal["developer", "system", "user", "assistant"]
    content: str | Annotated[tuple[TextPart, ...], Field(min_length=1)]
    name: str | None = Field(None, max_length=1000)

    @property
    def text(self) -> str:
        """The whole content."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)

    def turn(self) -> ChatTurn:
        """As it stands in a training row."""
        return ChatTurn(role="system" if self.role == "developer" else self.role, text=self.text)


class ChatBody(SamplingOptions):
    """Body of ``POST /v1/chat/completions``: the sampling options and what they apply to."""

    model: str = Field(min_length=1, max_length=300)
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    n: int = Field(1, ge=1, le=128)
    max_tokens: int = Field(
        LONGEST_REPLY, ge=1, le=MOST_TOKENS, description="an older name of max_completion_tokens"
    )
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    logprobs: bool = Field(False, description="tell every token's log-probability")
    top_logprobs: int | None = Field(
        None, ge=0, le=20, description="and those of so many of the likeliest; with logprobs"
    )
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=1000)
    safety_identifier: str | None = Field(None, max_length=1000, description="not looked at")
    prompt_cache_key: str | None = Field(None, max_length=1000, description="not looked at")
    state_id: str | None = Field(
        None,
        max_length=100,
        description="go on from the conversation up to there; the messages are what follows it",
    )
    return_state: bool = Field(
        False, description="give each reply a state_id, from which the conversation goes on at once"
    )

    @field_validator("messages", mode="before")
    @classmethod
    def _known_messages(cls, value: object) -> object:
        return known_messages(value)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidOption(
                "'top_logprobs' is given without 'logprobs': set that to true.",
                param="top_logprobs",
            )
        if self.stream_options is not None and not self.stream:
            raise InvalidOption(
                "'stream_options' is for streams; leave it out, or set 'stream' to true.",
                param="stream_options",
            )
        return self

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> ChatBody:
        """Check a request body; raise InvalidOption naming the field, the value, the way out.

        Null means that a field is left out, as in OpenAI's schema.
        """
        given = {name: value for name, value in body.items() if value is not None}
        values = leave_out(given, HARMLESS)
        longest = values.get("max_completion_tokens")
        valid = type(longest) is int and 1 <= longest <= MOST_TOKENS  # else its field says so
        if valid and values.setdefault("max_tokens", longest) != longest:
            raise InvalidOption(
                "'max_tokens' and 'max_completion_tokens' are two names of one bound and "
                "differ; give one of them.",
                param="max_tokens",
            )
        return cls.parse(values)

    def check_limits(self, *, max_characters: int, max_choices: int) -> None:
        """Refuse what is too large for one request; raise InvalidOption."""
        size = sum(len(message.text) for message in self.messages)
        if size > max_characters:
            raise InvalidOption(
                f"'messages' have {size:,} characters; the limit is {max_characters:,}. Leave out "
                "the first turns: the model remembers the last ones best.",
                code="prompt_too_long",
                param="messages",
            )
        if self.n > max_choices:
            raise InvalidOption(
                f"'n' is {self.n}; the limit for one request is {max_choices}. Use a batch for "
                "more.",
                code="too_many_choices",
                param="n",
            )

    def answer(self, keep: Callable[[str], str] | None) -> ChatAnswer:
        """What gathers the replies; ``keep`` turns a packed state into its id."""
        top = self.top_logprobs or 0 if self.logprobs else None
        return ChatAnswer(self.n, top_logprobs=top, keep=keep)

    def to_request(
        self, request_id: str, bundle: BundleReference, seed: int, state: str | None
    ) -> GenerateRequest:
        """The message for the worker; ``seed`` counts where the body has none."""
        turns = tuple(message.turn() for message in self.messages)
        return GenerateRequest(
            id=request_id,
            bundle=bundle,
            prompts=(Conversation(turns=turns),),
            n=self.n,
            task="reply",
            logprobs=self.top_logprobs or 0 if self.logprobs else None,
            options=SamplingOptions.model_construct(
                **{name: getattr(self, name) for name in SamplingOptions.model_fields}
            ),
            seed=seed if self.seed is None else self.seed,
            state=state,
            return_state=self.return_state,
        )


def known_messages(value: object) -> object:
    """Messages without what changes nothing; ValueError for what they cannot be."""
    return list(map(_known, value)) if isinstance(value, list) else value


def _known(message: object) -> object:
    if not isinstance(message, dict):
        return message
    role = message.get("role")
    if role in ("tool", "function"):
        raise ValueError(f"there are no tools here, so no message has the role {role!r}")
    kept = dict(message)
    for name, accepted in HARMLESS_IN_MESSAGE.items():
        if name in kept and kept.pop(name) not in accepted:
            raise ValueError(f"{name!r} of a message is not supported; leave it out")
    return kept
