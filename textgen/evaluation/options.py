"""What an evaluation may be asked to do; read without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from textgen.options import Options

PartName = Literal[
    "prediction", "context", "calibration", "rows", "tasks", "classes", "samples",
    "memorisation", "canaries", "baselines", "bias", "traces",
]  # fmt: skip
PARTS: tuple[PartName, ...] = (
    "prediction", "context", "calibration", "rows", "tasks", "classes", "samples",
    "memorisation", "canaries", "baselines", "bias", "traces",
)  # fmt: skip
Term = Annotated[str, Field(min_length=1, max_length=100)]
# c (the cell, through tanh) or h (what the layer gives out), the layer, the unit from 0
TracedUnit = Annotated[str, Field(pattern=r"^[ch][1-8]:[0-9]{1,4}$")]
Prompt = Annotated[str, Field(max_length=10_000)]


class Canary(Options):
    """A secret that was put into the training text, and what could have stood in its place."""

    template: str = Field(
        max_length=1000, description="the sentence, with {} where the secret stood"
    )
    alphabet: str = Field(
        "0123456789", min_length=2, max_length=200, description="characters that secrets have"
    )
    secret: str = Field(min_length=1, max_length=100, description="what stood there")

    @field_validator("template")
    @classmethod
    def _one_hole(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("it needs {} once, where the secret goes")
        return value

    @field_validator("alphabet")
    @classmethod
    def _different(cls, value: str) -> str:
        if len(set(value)) != len(value):
            raise ValueError("it names a character twice")
        return value

    @field_validator("secret")
    @classmethod
    def _of_the_alphabet(cls, value: str, info: ValidationInfo) -> str:
        if not set(value) <= set(info.data.get("alphabet", value)):
            raise ValueError("it has characters that are not in 'alphabet'")
        return value

    def fill(self, secret: str) -> str:
        """The sentence with another secret."""
        return self.template.replace("{}", secret)


class EvaluationOptions(Options):
    """Which parts are measured, and on how much. The defaults measure all that can be."""

    parts: tuple[PartName, ...] = Field(
        PARTS, min_length=1, description="what to measure: all parts where nothing is said"
    )
    max_tokens: int = Field(
        500_000, ge=100, le=20_000_000, description="of the text; the rest is left out, and said"
    )
    top_k: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (1, 5, 10), min_length=1, max_length=10, description="accuracy among the k likeliest"
    )
    longest_context: int = Field(
        512, ge=1, le=8192, description="tokens of context to go up to, a power of two"
    )
    bins: int = Field(15, ge=1, le=100, description="of the calibration")
    worst_rows: int = Field(10, ge=1, le=1000, description="rows shown, the worst first")
    tasks: int = Field(512, ge=1, le=10_000, description="of each objective such as infill")
    samples: int = Field(64, ge=1, le=1000, description="texts drawn from the model")
    sample_tokens: int | None = Field(
        None, ge=1, le=2_000, description="of each; the model's own default where not given"
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="of samples; the model's own default where not given"
    )
    prompts: tuple[Prompt, ...] = Field(
        (), max_length=1000, description="what samples go on from, in turn"
    )
    index_characters: int = Field(
        2_000_000, ge=1000, le=20_000_000, description="of the training text to find overlaps in"
    )
    canaries: tuple[Canary, ...] = Field((), max_length=20)
    canary_samples: int = Field(
        5_000, ge=100, le=1_000_000, description="other secrets to compare a canary with"
    )
    baseline_characters: int = Field(
        1_000_000, ge=1000, le=5_000_000, description="of training text that n-gram models see"
    )
    terms: tuple[tuple[Term, ...], ...] = Field(
        (), max_length=20, description="lists of words to exchange, for the bias report"
    )
    bias_rows: int = Field(2_000, ge=10, le=50_000, description="rows of each list of terms")
    resamples: int = Field(1_000, ge=100, le=10_000, description="of the bootstrap")
    trace_tokens: int = Field(
        300, ge=2, le=2_000, description="of the text's beginning, shown token by token"
    )
    trace_units: int = Field(
        5, ge=0, le=50, description="of the LSTM to show along them: those that vary most"
    )
    units: tuple[TracedUnit, ...] = Field(
        (),
        max_length=50,
        description="others to show: c1:17 is the cell of unit 17 of layer 1, h1:17 its output",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="the same seed gives the same report")

    @field_validator("parts", "units", mode="before")
    @classmethod
    def _names_with_commas(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("parts", "top_k", "units")
    @classmethod
    def _each_once(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("longest_context")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError(f"give a power of two, such as {1 << (value.bit_length() - 1)}")
        return value

    @field_validator("terms")
    @classmethod
    def _lists_of_two(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for terms in value:
            if not 2 <= len(terms) <= 20 or len({term.lower() for term in terms}) != len(terms):
                raise ValueError("each list needs 2 to 20 different terms to exchange")
        return value
