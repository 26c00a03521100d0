"""How a completion is drawn: every option with its bounds, and which do not go together.

The names are OpenAI's and vLLM's; docs/sampling.md tells what each does, and in which order.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from textgen.errors import InvalidOption
from textgen.option_model import Options

Temperature = Annotated[float, Field(ge=0, le=2)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Word = Annotated[str, Field(min_length=1, max_length=100)]
LONGEST_SCHEDULE = 64


class SamplingOptions(Options):
    """How one completion is drawn. Defaults are OpenAI's."""

    # how long
    max_tokens: int = Field(16, ge=0, le=1_000_000)
    min_tokens: int = Field(
        0, ge=0, le=1_000_000, description="nothing ends the text before so many tokens"
    )
    stop: tuple[Stop, ...] = Field(
        (), max_length=4, description="texts that end the completion and are not part of it"
    )
    stop_token_ids: tuple[TokenId, ...] = Field(
        (), max_length=100, description="tokens that end the completion, as stop does"
    )
    include_stop_str_in_output: bool = Field(
        False, description="whether what ended the completion is part of it"
    )
    ignore_eos: bool = Field(False, description="go on where a document ends")
    # how wild
    temperature: (
        Temperature
        | Annotated[tuple[Temperature, ...], Field(min_length=1, max_length=LONGEST_SCHEDULE)]
    ) = Field(
        1.0,
        description="0 takes the likeliest token; of a list each token takes the next, over and "
        "over",
    )
    top_p: float = Field(1.0, gt=0, le=1, description="smallest set of tokens with this mass")
    top_k: int = Field(0, ge=-1, description="only the k likeliest tokens; 0 or -1 for all")
    min_p: float = Field(
        0.0, ge=0, le=1, description="only tokens with this part of the likeliest one's chance"
    )
    typical_p: float = Field(
        1.0, gt=0, le=1, description="the tokens nearest to the expected surprise, with this mass"
    )
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    # what is said again
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="off the logit for each time that the text has the token"
    )
    presence_penalty: float = Field(
        0.0, ge=-2, le=2, description="off the logit of every token that the text has"
    )
    repetition_penalty: float = Field(
        1.0, gt=0, le=10, description="divides the logit of tokens in the prompt or the text"
    )
    no_repeat_ngram_size: int = Field(
        0, ge=0, le=100, description="no so many tokens in a row come twice; 0 for any"
    )
    reject_if_copied_over: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="no more characters in a row than this are copied from the training text; "
        "for models trained with copy_index",
    )
    # what may be said at all
    logit_bias: dict[TokenId, Annotated[float, Field(ge=-100, le=100)]] = Field(
        default_factory=dict, max_length=1000, description="added to the logits of token ids"
    )
    allowed_token_ids: tuple[TokenId, ...] | None = Field(
        None, min_length=1, max_length=65_000, description="no other tokens are drawn"
    )
    bad_words: tuple[Word, ...] = Field(
        (), max_length=200, description="texts that the completion does not contain"
    )
    allowed_words: tuple[Word, ...] | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="the completion is made of these texts, one after the other",
    )

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Those that the tokens take in turns."""
        given = self.temperature
        return given if isinstance(given, tuple) else (given,)

    @field_validator(
        "stop",
        mode="before",
        json_schema_input_type=Stop | Annotated[list[Stop], Field(max_length=4)] | None,
    )
    @classmethod
    def _one_or_many_stops(cls, value: object) -> object:
        return _one_or_many(value)

    @field_validator(
        "bad_words",
        mode="before",
        json_schema_input_type=Word | Annotated[list[Word], Field(max_length=200)] | None,
    )
    @classmethod
    def _one_or_many_words(cls, value: object) -> object:
        return _one_or_many(value)

    @field_validator("bad_words", "allowed_words")
    @classmethod
    def _whole_characters(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for word in () if value is None else value:
            if any("\ud800" <= character <= "\udfff" for character in word):
                raise ValueError("a word holds half a surrogate pair, which is no character")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise InvalidOption(
                f"'min_tokens' is {self.min_tokens}, more than 'max_tokens', which is "
                f"{self.max_tokens}. Give a larger 'max_tokens'.",
                param="min_tokens",
            )
        return self


def _one_or_many(value: object) -> object:
    """A text alone stands for a list of one, null for an empty one."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value
