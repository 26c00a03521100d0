"""What can be asked for, with its bounds: the one place where a value is checked.

HTTP, command line, worker and library share these models. They are frozen, refuse unknown
keys by naming the nearest known one, and load no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from textgen.option_model import Options as Options
from textgen.privacy_options import Epsilon, PrivacyOptions, check_private
from textgen.reading_options import ReadingOptions
from textgen.sampling_options import LONGEST_SCHEDULE as LONGEST_SCHEDULE
from textgen.sampling_options import SamplingOptions as SamplingOptions

TokenizerName = Literal["char", "byte", "bpe", "unigram", "word"]
# Those whose ids begin with the 256 bytes, so that no text is lost, before the pieces they learn
PIECE_TOKENIZERS: tuple[TokenizerName, ...] = ("bpe", "unigram", "word")
LEAST_PIECE_VOCABULARY = 300
BYTE_VOCABULARY = 257
LARGEST_VOCABULARY = 65_000
SMALLEST_EMBEDDING, LARGEST_EMBEDDING = 4, 4096
ObjectiveName = Literal["causal", "infill", "mask", "order", "classify"]
Weights = Annotated[
    dict[ObjectiveName, Annotated[float, Field(gt=0, le=1000)]], Field(min_length=1)
]
RowKind = Literal["text", "prompts", "messages", "labels"]  # what the rows of a corpus are made of
# What a model is asked to do with a text: go on from it, say the next turn of a conversation, name
# its class, give its state as a vector, name the likeliest tokens to go on with.
Task = Literal["write", "reply", "classify", "embed", "choose"]
Normalization = Literal["none", "nfc", "nfkc"]
NORMALIZATIONS: tuple[Normalization, ...] = ("none", "nfc", "nfkc")
Deduplication = Literal["off", "exact", "near"]
Precision = Literal["float32", "bfloat16", "float16"]
SoftmaxName = Literal["exact", "sampled"]
Auto = Literal["auto"]


class ModelOptions(Options):
    """The shape of a TextGenerator (its vocabulary comes from the tokenizer)."""

    layers: int = Field(1, ge=1, le=8, description="LSTM layers")
    hidden_size: int = Field(256, ge=8, le=4096, description="units per LSTM layer")
    embedding_size: int = Field(
        64,
        ge=SMALLEST_EMBEDDING,
        le=LARGEST_EMBEDDING,
        description="width of the token embedding",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="between layers and before the output, one mask for all tokens"
    )
    output_dropout: float | None = Field(
        None, ge=0, lt=1, description="before the output where it is not to be as dropout is"
    )
    input_dropout: float = Field(
        0.0, ge=0, lt=1, description="of the embedded tokens, one mask for all tokens"
    )
    embedding_dropout: float = Field(
        0.0, ge=0, lt=1, description="of whole symbols, wherever they stand"
    )
    weight_dropout: float = Field(0.0, ge=0, lt=1, description="of the weights from state to state")
    layer_norm: bool = Field(False, description="normalise what each layer gives out")
    residual: bool = Field(False, description="add what a layer is given to what it gives out")
    tie_weights: bool = Field(
        False, description="output weights are the embedding's; needs embedding_size = hidden_size"
    )

    @property
    def dropout_before_output(self) -> float:
        """``output_dropout``, or ``dropout`` where that is left open."""
        return self.dropout if self.output_dropout is None else self.output_dropout


# What the weights of a model fit: a training that goes on from it cannot change them.
SHAPE_OPTIONS = (
    "layers",
    "hidden_size",
    "embedding_size",
    "layer_norm",
    "residual",
    "tie_weights",
)


class Hyperparameters(ReadingOptions):
    """What a training may be asked to do; ``None`` and ``"auto"`` leave it to the preset."""

    # OpenAI's own
    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = Field(
        "auto", description="passes over the training text"
    )
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto", description="parallel streams of text per step"
    )
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=100)] = Field(
        "auto", description="scales the preset's peak learning rate"
    )
    # how long
    max_seconds: float | None = Field(
        None, gt=0, le=30 * 86400, description="seconds of training, not of waiting or sleeping"
    )
    max_steps: int | None = Field(None, ge=1, le=100_000_000, description="optimizer steps")
    patience: int | None = Field(
        None, ge=1, le=1000, description="stop after this many validations without improvement"
    )
    # how it is computed
    workers: int | None = Field(
        None, ge=1, le=64, description="processes on one machine that share every batch"
    )
    precision: Precision | Auto | None = Field(
        None,
        description="in which recurrent layers multiply; auto takes a shorter one where that is "
        "faster, and so does a CPU where nothing is said",
    )
    # the text, beside how its files are read
    tokenizer: TokenizerName | None = Field(
        None, description="char, byte, bpe, unigram (also for Chinese) or word"
    )
    vocab_size: int | None = Field(
        None,
        ge=3,
        le=LARGEST_VOCABULARY,
        description="at most this many symbols; rarer ones are unknown to char, spelt by others",
    )
    normalization: Normalization | None = Field(
        None,
        description="none, nfc or nfkc: the Unicode form of the text and of every prompt; only "
        "none gives each text back as it was. None where not given",
    )
    deduplicate: Deduplication = Field(
        "off",
        description="of documents: leave out those that stand there before, as exact copies or "
        "also nearly (near)",
    )
    mask_personal_data: bool = Field(
        False, description="write <EMAIL>, <PHONE> and the like for what looks like personal data"
    )
    copy_index: int | None = Field(
        None,
        ge=16,
        le=1000,
        description="keep an index of the training text in the model, so that "
        "reject_if_copied_over can be as low as this; whoever has the model can then ask it "
        "whether the text has a passage",
    )
    shuffle: bool = Field(
        True, description="whether documents are read in an order of the seed's, not the files'"
    )
    validation_fraction: float = Field(
        0.1, ge=0, le=0.5, description="of the training file, unless a validation file is given"
    )
    test_fraction: float = Field(
        0.0, ge=0, le=0.5, description="kept away from every choice, measured once at the end"
    )
    # what is learnt
    objectives: Weights | None = Field(
        None,
        description="causal, infill, mask, order, classify: names, or with weights in the loss",
    )
    replay_fraction: float | None = Field(
        None, ge=0.02, le=0.9, description="of each batch, read from what the base learnt before"
    )
    freeze_embeddings: bool = Field(
        False, description="leave the vectors of an embeddings_file as they are"
    )
    privacy: PrivacyOptions | None = Field(
        None,
        description="differentially private training on documents: an epsilon, or an object with "
        "it. Needs the tokenizer byte or that of a base model",
    )
    # the model
    layers: int | None = Field(None, ge=1, le=8)
    hidden_size: int | None = Field(None, ge=8, le=4096)
    embedding_size: int | None = Field(None, ge=SMALLEST_EMBEDDING, le=LARGEST_EMBEDDING)
    dropout: float | None = Field(None, ge=0, lt=1)
    output_dropout: float | None = Field(None, ge=0, lt=1)
    input_dropout: float | None = Field(None, ge=0, lt=1)
    embedding_dropout: float | None = Field(None, ge=0, lt=1)
    weight_dropout: float | None = Field(None, ge=0, lt=1)
    layer_norm: bool | None = None
    residual: bool | None = None
    tie_weights: bool | None = None
    # the optimizer
    sequence_length: int | None = Field(
        None, ge=4, le=1024, description="tokens per truncated back-propagation"
    )
    learning_rate: float | None = Field(None, gt=0, le=1, description="peak, overrides the preset")
    weight_decay: float | None = Field(None, ge=0, le=1)
    gradient_clip: float | None = Field(None, gt=0, le=1000, description="largest gradient norm")
    softmax: SoftmaxName | None = Field(
        None,
        description="exact, or sampled: a large vocabulary is learnt faster by a part of it each "
        "step (where not given, on a CPU from 4,096 symbols on); what is measured on held-out text "
        "is exact either way",
    )
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    # what others may do with the model
    licence: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="kept in the model: an SPDX expression such as CC-BY-4.0, or a line of text; "
        "where not given that of the model to continue from",
    )

    @property
    def weights(self) -> dict[ObjectiveName, float]:
        """The objectives with their weights: predicting the next token where nothing is said."""
        return {"causal": 1.0} if self.objectives is None else dict(self.objectives)

    @field_validator(
        "objectives",
        mode="before",
        json_schema_input_type=Weights | Annotated[list[ObjectiveName], Field(min_length=1)] | None,
    )
    @classmethod
    def _names_alone(cls, value: object) -> object:
        """Names, as a list or with commas between them, have equal weights."""
        if isinstance(value, str):
            value = value.split(",")
        return dict.fromkeys(map(str, value), 1.0) if isinstance(value, (list, tuple)) else value

    @field_validator(
        "privacy", mode="before", json_schema_input_type=PrivacyOptions | Epsilon | None
    )
    @classmethod
    def _epsilon_alone(cls, value: object) -> object:
        """A number is an epsilon."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = {"epsilon": value}
        return PrivacyOptions.parse(value, within="privacy") if isinstance(value, dict) else value

    @model_validator(mode="before")
    @classmethod
    def _nothing_held_out_in_private(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What is held out is measured exactly and so not protected: only where it is asked for."""
        if values.get("privacy") is None:
            return values
        return {"validation_fraction": 0.0, **values}

    @model_validator(mode="after")
    def _fit_for_privacy(self) -> Self:
        if self.privacy is not None:
            check_private(self)
        return self

    @field_validator("vocab_size")
    @classmethod
    def _fits_the_tokenizer(cls, value: int | None, info: ValidationInfo) -> int | None:
        tokenizer = info.data.get("tokenizer")
        if value is None:
            return value
        if tokenizer in PIECE_TOKENIZERS and value < LEAST_PIECE_VOCABULARY:
            raise ValueError(
                f"the tokenizer {tokenizer} needs {LEAST_PIECE_VOCABULARY} or more, 257 of them "
                "for bytes and ends; give more, or the tokenizer char"
            )
        if tokenizer == "byte" and value != BYTE_VOCABULARY:
            raise ValueError(
                f"the tokenizer byte has always {BYTE_VOCABULARY} symbols, the bytes and an end; "
                "leave it out, or give another tokenizer"
            )
        return value


class Preset(Options):
    """A named starting point for a training: a shape and the optimizer settings that suit it.

    Dropouts are not among them: a plan chooses them by the passes over the text.
    """

    description: str
    model: ModelOptions
    batch_size: int
    sequence_length: int
    learning_rate: float
    weight_decay: float = 0.01
    gradient_clip: float = 1.0


# Sizes follow from measured quality per second; docs/experiments.md has the figures.
PRESETS: Mapping[str, Preset] = {
    "lstm-tiny": Preset(
        description="1×128: seconds of training, tests and very small texts",
        model=ModelOptions(layers=1, hidden_size=128, embedding_size=32, layer_norm=True),
        batch_size=32,
        sequence_length=64,
        learning_rate=8e-3,
    ),
    "lstm-small": Preset(
        description="1×256: minutes on a laptop",
        model=ModelOptions(layers=1, hidden_size=256, embedding_size=64, layer_norm=True),
        batch_size=32,
        sequence_length=64,
        learning_rate=6e-3,
    ),
    "lstm-base": Preset(
        description="2×512: an hour on a laptop, minutes on a GPU",
        model=ModelOptions(layers=2, hidden_size=512, embedding_size=128, layer_norm=True),
        batch_size=32,
        sequence_length=64,
        learning_rate=3e-3,
    ),
    "lstm-large": Preset(
        description="3×1024: for a GPU",
        model=ModelOptions(layers=3, hidden_size=1024, embedding_size=256, layer_norm=True),
        batch_size=64,
        sequence_length=128,
        learning_rate=2e-3,
    ),
}
AUTO_PRESET = "lstm-auto"
PRESET_NAMES = (AUTO_PRESET, *PRESETS)
