"""What travels between web and worker: queue names, task names and message shapes.

Old workers read messages of new web processes and the other way round while a deploy rolls,
so fields are only ever added, with a default.

A completion request is checked in one place, `worker.generation.completions.CompletionBody`, for
HTTP and for the lines of a batch alike; it becomes a `GenerateRequest`. The answer comes back as
`StreamEntry` values on a Redis stream of the request's own.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from textgen.options import SamplingOptions, Task

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


class GenerateRequest(Message):
    """One completion request: every prompt gets ``n`` choices.

    With ``suffix`` a choice is what stands between the prompt and it. ``task`` says what is made
    of the prompts: text, the next turn (of conversations), chances of labels, vectors.
    Choice ``i`` of prompt ``p`` has the index ``p·n + i``. Its randomness depends on
    ``seed``, ``i`` and the position alone, never on what else runs beside it.
    """

    id: str
    bundle: BundleReference
    prompts: tuple[str | tuple[int, ...] | Conversation, ...] = Field(min_length=1)
    n: int = 1
    suffix: str | None = None
    task: Task = "write"
    echo: bool = False
    logprobs: int | None = None
    ranked: bool = False
    options: SamplingOptions
    seed: int

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


class TokenLogprob(Message):
    """How likely the model found one token, and the likeliest at its place, by their texts.

    Null for the first token of an echoed prompt. ``offset`` counts characters of the choice's text.
    """

    token: int
    text: str
    logprob: float | None = None
    top: dict[str, float] | None = None
    offset: int = 0


class ChoiceDelta(Message):
    """New text of one choice; ``finish_reason`` is set on its last.

    Of a text that was classified: ``chances`` of the labels, in the order of the model's. Of one
    that was embedded: ``vector``, float32 little-endian in base64. ``logprobs`` are of the tokens
    since the choice's last delta; with ``ranked`` the last has their mean over all.
    """

    index: int
    text: str
    tokens: int = 0
    finish_reason: FinishReason | None = None
    chances: tuple[float, ...] | None = None
    vector: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    mean_logprob: float | None = None


class Usage(Message):
    """Tokens read and written by one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class StreamEntry(Message):
    """One entry of a request's stream.

    accepted: ``worker`` has taken it · delta: new text · end: all done, with the usage ·
    error: nothing more comes; ``error`` is {code, message, param}.
    """

    kind: Literal["accepted", "delta", "end", "error"]
    worker: str = ""
    deltas: tuple[ChoiceDelta, ...] = ()
    usage: Usage | None = None
    error: dict[str, Any] | None = None


def stream_key(request_id: str) -> str:
    """The Redis stream that carries a request's answer."""
    return f"textgen:stream:{request_id}"


def reader_key(request_id: str) -> str:
    """Exists while someone reads the answer; without it the worker stops the request."""
    return f"textgen:reader:{request_id}"


def worker_key(name: str) -> str:
    """Exists while a generation worker lives; its expiry is how readers learn of a death."""
    return f"textgen:worker:{name}"


ANY_WORKER_KEY = "textgen:worker:any"
