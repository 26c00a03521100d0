"""The completion request as OpenAI words it, checked in one place, and its answer.

HTTP requests and batch lines both come through here, so a line of a batch is refused for the
same reasons, with the same words, as a request.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from textgen.errors import InvalidOption
from textgen.options import Options, SamplingOptions
from worker.contracts import (
    BundleReference,
    ChoiceDelta,
    FinishReason,
    GenerateRequest,
    StreamEntry,
    Usage,
)

# Part of OpenAI's call, not of this version; the values that change nothing are accepted.
HARMLESS: Mapping[str, Sequence[object]] = {
    "best_of": (None, 1),
    "logprobs": (None,),
}

Prompt = str | tuple[int, ...]
TokenIds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class StreamOptions(Options):
    """What a stream carries beside the text."""

    include_usage: bool = False
    include_obfuscation: bool = Field(False, description="accepted; nothing is padded")


class CompletionBody(SamplingOptions):
    """Body of ``POST /v1/completions``: the sampling options and what they apply to."""

    model: str = Field(min_length=1, max_length=300)
    prompt: tuple[Prompt, ...] = Field(min_length=1)
    n: int = Field(1, ge=1, le=128)
    suffix: str | None = Field(
        None, description="what follows the text; for models that learnt the objective infill"
    )
    echo: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=1000)

    @field_validator("prompt", mode="before")
    @classmethod
    def _list_of_prompts(cls, value: object) -> object:
        """OpenAI takes a string, strings, token ids, or lists of token ids; all become a tuple."""
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and value and all(type(item) is int for item in value):
            return (tuple(value),)
        return value

    @field_validator("suffix")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        """Where nothing follows the text there is no gap to fill."""
        return None if value == "" else value

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        """OpenAI's schema allows null for what need not be there; it means the default."""
        required = ("model", "prompt")
        return {key: value for key, value in values.items() if value is not None or key in required}

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> CompletionBody:
        """Check a request body; raise InvalidOption naming the field, the value, the way out."""
        values = dict(body)
        for name, harmless in HARMLESS.items():
            if name in values and values.pop(name) not in harmless:
                raise InvalidOption(
                    f"{name!r} is not supported by this version of the service; leave it out.",
                    code="unsupported_option",
                    param=name,
                )
        return cls.parse(values)

    def check_limits(self, *, max_characters: int, max_choices: int) -> None:
        """Refuse what is too large for one request; raise InvalidOption."""
        longest = max(len(prompt) for prompt in self.prompt)
        if self.suffix is not None and len(self.suffix) > max_characters:
            raise InvalidOption(
                f"'suffix' has {len(self.suffix):,} characters; the limit is "
                f"{max_characters:,}. Send its beginning.",
                code="prompt_too_long",
                param="suffix",
            )
        if longest > max_characters:
            raise InvalidOption(
                f"'prompt' has {longest:,} characters or tokens; the limit is {max_characters:,}. "
                "Send the end of the text, which is what the model remembers best.",
                code="prompt_too_long",
                param="prompt",
            )
        if len(self.prompt) * self.n > max_choices:
            raise InvalidOption(
                f"{len(self.prompt)} prompts × n={self.n} ask for {len(self.prompt) * self.n} "
                f"texts; the limit for one request is {max_choices}. Use a batch for more.",
                code="too_many_choices",
                param="n",
            )

    def to_request(self, request_id: str, bundle: BundleReference, seed: int) -> GenerateRequest:
        """The message for the worker; ``seed`` counts where the body has none."""
        return GenerateRequest(
            id=request_id,
            bundle=bundle,
            prompts=self.prompt,
            n=self.n,
            suffix=self.suffix,
            echo=self.echo,
            options=SamplingOptions.model_construct(
                **{name: getattr(self, name) for name in SamplingOptions.model_fields}
            ),
            seed=seed if self.seed is None else self.seed,
        )


def new_seed() -> int:
    """A seed for a request that names none."""
    return secrets.randbits(62)


@dataclass
class Answer:
    """Gathers stream entries into the whole answer; ``ended`` when nothing more comes."""

    choices: int
    texts: dict[int, list[str]] = field(default_factory=dict)
    reasons: dict[int, FinishReason] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    error: dict[str, Any] | None = None
    ended: bool = False

    def fresh(self) -> Answer:
        """The same answer with nothing in it yet."""
        return Answer(self.choices)

    def add(self, entry: StreamEntry) -> None:
        """Take in one entry."""
        self.add_deltas(entry.deltas)
        if entry.usage is not None:
            self.usage = entry.usage
        if entry.error is not None:
            self.error = entry.error
        self.ended = entry.kind in ("end", "error")

    def add_deltas(self, deltas: Iterable[ChoiceDelta]) -> None:
        """Take in new text."""
        for delta in deltas:
            self.texts.setdefault(delta.index, []).append(delta.text)
            if delta.finish_reason is not None:
                self.reasons[delta.index] = delta.finish_reason

    def body(self, request_id: str, model: str) -> dict[str, Any]:
        """The ``text_completion`` object of a finished answer."""
        choices = [
            completion_choice(
                index, "".join(self.texts.get(index, ())), self.reasons.get(index, "length")
            )
            for index in range(self.choices)
        ]
        return completion_object(request_id, model, choices, usage_dict(self.usage))

    def opening(self) -> list[dict[str, Any]]:
        """The choices of a stream's first chunk, before there is text; none: no such chunk."""
        return []

    def chunk_choices(self, deltas: Iterable[ChoiceDelta]) -> list[dict[str, Any]]:
        """The choices of a stream's chunk with new text."""
        return [completion_choice(each.index, each.text, each.finish_reason) for each in deltas]

    def chunk(
        self,
        request_id: str,
        model: str,
        created: int,
        choices: list[dict[str, Any]],
        usage: Usage | None,
    ) -> dict[str, Any]:
        """One chunk of a stream; the last of those with a usage has no choices."""
        counted = None if usage is None else usage_dict(usage)
        return completion_object(request_id, model, choices, counted, created)


def completion_choice(index: int, text: str, reason: FinishReason | None) -> dict[str, Any]:
    """One element of ``choices``; in a stream the reason is null until the last."""
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def usage_dict(usage: Usage) -> dict[str, int]:
    """Usage as OpenAI counts it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def completion_object(
    request_id: str,
    model: str,
    choices: list[dict[str, Any]],
    usage: dict[str, int] | None,
    created: int | None = None,
) -> dict[str, Any]:
    """A ``text_completion``: the whole answer, or one chunk of a stream (usage null or absent)."""
    return {
        "id": request_id,
        "object": "text_completion",
        "created": int(time.time()) if created is None else created,
        "model": model,
        "system_fingerprint": None,
        "choices": choices,
        "usage": usage,
    }
