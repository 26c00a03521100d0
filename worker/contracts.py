"""What travels between web and worker: queue names, task names and message shapes.

Old workers read messages of new web processes and the other way round while a deploy rolls,
so fields are only ever added, with a default.

A completion request is checked in one place, `worker.generation.completions.CompletionBody`, for
HTTP and for the lines of a batch alike; it becomes a `GenerateRequest`. The answer comes back as
`StreamEntry` values. They are made for every moment of every text, so they are plain values, and
arrays in JSON: new fields go to the end, and a reader passes over those that it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    model_validator,
)

from textgen.errors import InvalidOption
from textgen.option_messages import reason_of
from textgen.options import SamplingOptions, Task
from worker.errors import Unavailable
from worker.tenants.options import BlockedWords

WAKE_TASK = "textgen.wake"
GENERATE_TASK = "textgen.generate"

Queue = Literal["training", "batch"]  # of jobs; interactive requests have one beside them
TRAINING: Queue = "training"
BATCH: Queue = "batch"
INTERACTIVE = "interactive"

FinishReason = Literal["stop", "length"]


class Message(BaseModel):
    """Base of all messages: frozen, and tolerant of fields that a newer sender added."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BundleReference(Message):
    """Which stored model file to load: immutable, so safe to keep loaded."""

    artifact: str
    file: str


class ChatTurn(Message):
    """What somebody says in a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


class Conversation(Message):
    """A prompt for a reply."""

    turns: tuple[ChatTurn, ...] = Field(min_length=1)


class Gap(Message):
    """A prompt for what stands between two texts."""

    before: str
    after: str


class Owner(Message):
    """For whom a request is run: who its usage is written down for."""

    tenant: str
    api_key: str
    model: str


class GenerateRequest(Message):
    """One completion request: every prompt gets ``n`` choices.

    With ``suffix`` a choice is what stands between the prompt and it; gaps have one each.
    ``task`` says what is made of the prompts: text, the next turn (of conversations), chances of
    labels, vectors.
    Choice ``i`` of prompt ``p`` has the index ``p·n + i``. Its randomness depends on
    ``seed``, ``i`` and the position alone, never on what else runs beside it.
    Waiting requests of several tenants take turns. With ``stream`` the text is wanted as it is
    made, else whole at its end; ``reader`` is the process that the answer goes to.
    ``request_id`` and ``traceparent`` are those of the HTTP request that asked for it.
    Prompts follow what was read for ``state`` (`textgen.engine.text_state`, packed). To choose,
    ``alternatives`` is how many of the likeliest next tokens are wanted. A text ends before any of
    the words that are ``blocked``, whatever its options.
    """

    id: str
    owner: Owner | None = None
    bundle: BundleReference
    prompts: tuple[str | tuple[int, ...] | Conversation | Gap, ...] = Field(min_length=1)
    n: int = 1
    suffix: str | None = None
    task: Task = "write"
    echo: bool = False
    logprobs: int | None = None
    ranked: bool = False
    options: SamplingOptions
    blocked: BlockedWords = ()
    seed: int
    tenant: str = ""
    reader: str = ""
    stream: bool = False
    state: str | None = None
    return_state: bool = False
    alternatives: int = 0
    request_id: str = ""
    traceparent: str = ""

    @field_serializer("options")
    def _those_that_say_something(self, options: SamplingOptions) -> dict[str, Any]:
        """Without the defaults: an older worker refuses what it does not know."""
        return options.model_dump(mode="json", exclude_defaults=True)

    @model_validator(mode="before")
    @classmethod
    def _of_before_there_were_tasks(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("classify"):
            return {"task": "classify", **values}
        return values

    @classmethod
    def received(cls, values: Any) -> GenerateRequest:
        """A request as it came; Unavailable ``unreadable_request`` where it cannot be one.

        Its sender has checked it, so then web and worker do not agree about what may be.
        """
        try:
            return cls.model_validate(values)
        except (ValidationError, InvalidOption) as error:
            if isinstance(error, InvalidOption):
                param, reason = error.param, error.message
            else:
                param = ".".join(map(str, error.errors()[0]["loc"]))
                reason = reason_of(cls, error)
        raise Unavailable(
            f"The worker cannot take this request, because of its {param!r}: {reason}. It may be "
            "of another version than the web process; send the request again when both are the "
            "same.",
            code="unreadable_request",
            param=param,
        )


class TokenLogprob(NamedTuple):
    """How likely the model found one token, and the likeliest at its place, by their texts.

    Null for the first token of an echoed prompt. ``offset`` counts characters of the choice's text.
    """

    token: int
    text: str
    logprob: float | None = None
    top: dict[str, float] | None = None
    offset: int = 0


@dataclass(slots=True)
class ChoiceDelta:
    """New text of one choice; ``finish_reason`` is set on its last.

    Of a text that was classified: ``chances`` of the labels, in the order of the model's. Of one
    that was embedded: ``vector``, float32 little-endian in base64. ``logprobs`` are of the tokens
    since the choice's last delta; with ``ranked`` the last has their mean over all. With
    ``return_state`` the last has the ``state``, packed. Of a request to choose ``logprobs`` are
    those of the alternatives. Of the text so many characters are ``echoed``, which nobody wrote.
    ``prompt_tokens`` come with the first delta of a prompt's choices, once.
    """

    index: int
    text: str
    tokens: int = 0
    finish_reason: FinishReason | None = None
    chances: tuple[float, ...] | None = None
    vector: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    mean_logprob: float | None = None
    state: str | None = None
    echoed: int = 0
    prompt_tokens: int = 0

    @property
    def characters(self) -> int:
        """That were written."""
        return len(self.text) - self.echoed

    def joined(self, later: ChoiceDelta) -> ChoiceDelta:
        """This and what came after it as one."""
        return ChoiceDelta(
            self.index,
            self.text + later.text,
            self.tokens + later.tokens,
            later.finish_reason,
            later.chances,
            later.vector,
            self.logprobs + later.logprobs,
            later.mean_logprob,
            later.state,
            self.echoed + later.echoed,
            self.prompt_tokens + later.prompt_tokens,
        )


DELTA_FIELDS = tuple(ChoiceDelta.__dataclass_fields__)
_NOTHING = tuple(each.default for each in ChoiceDelta.__dataclass_fields__.values())


class Usage(NamedTuple):
    """Tokens read and written by one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class StreamEntry(NamedTuple):
    """A moment of an answer.

    accepted: ``worker`` has taken it · delta: new text · end: all done, with the usage ·
    error: nothing more comes; ``error`` is {code, message, param}.
    """

    kind: Literal["accepted", "delta", "end", "error"]
    worker: str = ""
    deltas: tuple[ChoiceDelta, ...] = ()
    usage: Usage | None = None
    error: dict[str, Any] | None = None


def encode_entries(entries: Sequence[tuple[str, StreamEntry]]) -> str:
    """Entries of several requests, each with its request's id, as one message."""
    return encode(entries)


def decode_entries(message: str) -> list[tuple[str, StreamEntry]]:
    """Back from `encode_entries`."""
    return [(name, _entry(values)) for name, values in json.loads(message)]


def encode(value: Any) -> str:
    """JSON, with deltas as arrays."""
    return json.dumps(value, separators=(",", ":"), default=_values)


def decode_deltas(rows: Sequence[Sequence[Any]]) -> tuple[ChoiceDelta, ...]:
    """Deltas back from JSON."""
    return tuple(map(_delta, rows))


def decode_usage(row: Sequence[int] | None) -> Usage | None:
    """A usage back from JSON."""
    return None if row is None else Usage(*row[: len(Usage._fields)])


def _values(delta: ChoiceDelta) -> list[Any]:
    """Its fields, without those at the end that have nothing to say."""
    values = [getattr(delta, name) for name in DELTA_FIELDS]
    while values[-1] == _NOTHING[len(values) - 1]:
        values.pop()
    return values


def _delta(row: Sequence[Any]) -> ChoiceDelta:
    delta = ChoiceDelta(*row[: len(DELTA_FIELDS)])
    if delta.logprobs:
        rows: Sequence[Any] = delta.logprobs
        known = len(TokenLogprob._fields)
        delta.logprobs = tuple(TokenLogprob(*values[:known]) for values in rows)
    return delta


def _entry(values: Sequence[Any]) -> StreamEntry:
    kind, worker, deltas, usage, error = values[: len(StreamEntry._fields)]
    return StreamEntry(kind, worker, decode_deltas(deltas), decode_usage(usage), error)
