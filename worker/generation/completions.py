"""The completion request as OpenAI words it, checked in one place.

HTTP requests and batch lines both come through here, so a line of a batch is refused for the
same reasons, with the same words, as a request.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from textgen.errors import InvalidOption
from textgen.options import Options, SamplingOptions
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.completion_answer import CompletionAnswer
from worker.generation.text_lists import Prompt, Prompts, listed


class StreamOptions(Options):
    """What a stream carries beside the text."""

    include_usage: bool = False
    include_obfuscation: bool = Field(False, description="accepted; nothing is padded")


class CompletionBody(SamplingOptions):
    """Body of ``POST /v1/completions``: the sampling options and what they apply to."""

    model: str = Field(min_length=1, max_length=300)
    prompt: tuple[Prompt, ...] = Field(min_length=1)
    n: int = Field(1, ge=1, le=128)
    best_of: int | None = Field(
        None,
        ge=1,
        le=20,
        description="so many texts are written, and the n likeliest sent: at least n; not streamed",
    )
    logprobs: int | None = Field(
        None,
        ge=0,
        le=5,
        description="tell every token's log-probability, and those of so many of the likeliest",
    )
    suffix: str | None = Field(
        None, description="what follows the text; for models that learnt the objective infill"
    )
    echo: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=1000)
    state_id: str | None = Field(
        None, max_length=100, description="go on from this text; the prompt is what follows it"
    )
    return_state: bool = Field(
        False, description="give each choice a state_id, from which its text goes on at once"
    )

    @field_validator("prompt", mode="before", json_schema_input_type=Prompts)
    @classmethod
    def _list_of_prompts(cls, value: object) -> object:
        return listed(value)

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
        if values.get("state_id") is not None and values.get("prompt") is None:
            values = {**values, "prompt": ""}  # nothing is to be read before the text goes on
        return {key: value for key, value in values.items() if value is not None or key in required}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.best_of is not None and self.best_of < self.n:
            raise InvalidOption(
                f"'best_of' is {self.best_of}, less than 'n', which is {self.n}. Give "
                f"{self.n} or more, or leave it out.",
                param="best_of",
            )
        if self.best_of is not None and self.best_of > self.n and self.stream:
            raise InvalidOption(
                f"'best_of' is {self.best_of} with 'stream': which texts are the best is known at "
                "the end alone. Leave out one of the two.",
                param="best_of",
            )
        if self.stream_options is not None and not self.stream:
            raise InvalidOption(
                "'stream_options' is for streams; leave it out, or set 'stream' to true.",
                param="stream_options",
            )
        if self.suffix is not None and self.echo and self.logprobs is not None:
            raise InvalidOption(
                "'echo' with 'logprobs' scores a prompt that is followed by its text; with "
                "'suffix' it is not. Leave out one of the three.",
                param="echo",
            )
        with_state = self.state_id is not None or self.return_state
        name = "state_id" if self.state_id is not None else "return_state"
        if with_state and self.suffix is not None:
            raise InvalidOption(
                f"{name!r} is given with 'suffix': a gap is filled between two texts, and there is "
                "no state before or after it. Leave out one of the two.",
                param=name,
            )
        if with_state and self.echo and self.logprobs is not None:
            raise InvalidOption(
                f"{name!r} is given with 'echo' and 'logprobs': the log-probabilities of a prompt "
                "are told of a whole text, without a state. Leave out one of the three.",
                param=name,
            )
        return self

    @property
    def written(self) -> int:
        """How many texts are written for each prompt."""
        return self.n if self.best_of is None else self.best_of

    @classmethod
    def check(cls, body: Mapping[str, Any]) -> CompletionBody:
        """Check a request body; raise InvalidOption naming the field, the value, the way out."""
        return cls.parse(body)

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
        name = "n" if self.best_of is None else "best_of"
        if len(self.prompt) * self.written > max_choices:
            raise InvalidOption(
                f"{len(self.prompt)} prompts × {name}={self.written} ask for "
                f"{len(self.prompt) * self.written} texts; the limit for one request is "
                f"{max_choices}. Use a batch for more.",
                code="too_many_choices",
                param=name,
            )

    def to_request(
        self, request_id: str, bundle: BundleReference, seed: int, state: str | None
    ) -> GenerateRequest:
        """The message for the worker; ``seed`` counts where the body has none."""
        return GenerateRequest(
            id=request_id,
            bundle=bundle,
            prompts=self.prompt,
            n=self.written,
            suffix=self.suffix,
            echo=self.echo,
            logprobs=self.logprobs,
            ranked=self.written > self.n,
            options=SamplingOptions.model_construct(
                **{name: getattr(self, name) for name in SamplingOptions.model_fields}
            ),
            seed=seed if self.seed is None else self.seed,
            state=state,
            return_state=self.return_state,
        )

    def answer(self, keep: Callable[[str], str] | None) -> CompletionAnswer:
        """What gathers the texts; ``keep`` turns a packed state into its id."""
        return CompletionAnswer(
            prompts=len(self.prompt),
            written=self.written,
            n=self.n,
            with_logprobs=self.logprobs is not None,
            keep=keep,
        )


def new_seed() -> int:
    """A seed for a request that names none."""
    return secrets.randbits(62)
