"""What an evaluation found; read and shown without torch.

Losses are nats per token, what the other figures are is in their names. A part that was not
measured is None (or empty), and ``missing`` says why.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from textgen.evaluation.options import EvaluationOptions, PartName, TracedUnit
from textgen.options import ObjectiveName, Options, RowKind


class ModelFacts(Options):
    """Which model was measured."""

    parameters: int
    layers: int
    hidden_size: int
    tokenizer: str
    vocab_size: int
    objectives: tuple[ObjectiveName, ...]
    rows: RowKind


class TextFacts(Options):
    """What it was measured on. Of prompts and messages only what the model has to say counts."""

    files: tuple[str, ...]
    origin: Literal["given", "held out"]  # held out: of the training files, not learnt from
    documents: int  # 0 for one text
    tokens: int  # that count
    characters: int  # in them
    bytes: int  # of UTF-8
    unknown: int  # characters that the tokenizer does not know
    left_out_characters: int = 0  # read but not measured, for the limit of tokens


class PositionLoss(Options):
    """Of the tokens at places ``first`` to ``last``."""

    first: int
    last: int
    tokens: int
    loss: float
    accuracy: float


class Prediction(Options):
    """Every token predicted from all those before it."""

    loss: float
    perplexity: float | None  # None where it is beyond any number
    bits_per_character: float
    bits_per_byte: float
    accuracy: float
    top_k: dict[int, float]  # share of tokens that were among the k likeliest
    positions: tuple[PositionLoss, ...]
    position_unit: Literal["token of a document", "tenth of the text"]


class ContextLoss(Options):
    """Of the tokens that had ``fewest`` to ``most`` tokens before them to be predicted from."""

    fewest: int
    most: int
    loss: float
    tokens: int


class ReliabilityBin(Options):
    """The predictions whose likeliest token had a chance above ``low`` and up to ``high``."""

    low: float
    high: float
    tokens: int
    confidence: float  # mean chance of the likeliest token; 0 in an empty bin
    accuracy: float  # share of them where it came; 0 in an empty bin


class Calibration(Options):
    """Whether the model is right as often as it is sure."""

    expected_error: float
    bins: tuple[ReliabilityBin, ...]


class WorstRow(Options):
    """A row, or some lines of one text, that the model finds hard; long ones in part."""

    number: int  # of the row, or of the line where it begins, in what was measured, from 1
    before: str  # what was read and does not count
    text: str
    nats: float
    tokens: int
    characters: int

    @property
    def nats_per_character(self) -> float:
        """What the order is by."""
        return self.nats / max(self.characters, 1)


class TaskScores(Options):
    """Of one objective: answers token by token, and as the model writes them by itself."""

    tasks: int
    loss: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    exact: float


class ClassScores(Options):
    """Of the texts of one class."""

    label: str
    texts: int
    precision: float
    recall: float
    f1: float


class ClassMeans(Options):
    """Over the classes."""

    precision: float
    recall: float
    f1: float


class Confusion(Options):
    """Texts of one class that were taken for another's."""

    label: str
    found: str
    texts: int


class Classes(Options):
    """How well the classes of texts are told apart."""

    texts: int
    log_loss: float  # nats a text
    accuracy: float
    calibration_error: float
    macro: ClassMeans  # each class counting the same
    weighted: ClassMeans  # by their texts
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...] = ()  # [label][found]; empty where classes are many
    most_confused: tuple[Confusion, ...] = ()  # instead of it, the most frequent first


class Diversity(Options):
    """Of n-grams of characters or words, in the samples and in as much of the real text."""

    unit: Literal["characters", "words"]
    n: int
    distinct: float
    repetition: float
    distinct_of_text: float | None
    repetition_of_text: float | None


class Samples(Options):
    """What the model wrote."""

    count: int
    temperature: float
    max_tokens: int
    characters: int
    diversity: tuple[Diversity, ...]
    texts: tuple[str, ...]  # the first few


class Overlaps(Options):
    """The longest parts, in characters, of several texts that stand in the training text."""

    count: int
    mean: float
    median: float
    percentile_90: float
    percentile_99: float
    longest: int
    text: str  # the longest, long ones in part


class Memorisation(Options):
    """How much of its samples a model repeats from its training text."""

    characters: int  # of training text that was looked in
    left_out_characters: int
    samples: Overlaps
    text: Overlaps | None  # of as many equally long pieces of the real text, to compare with


class CanaryExposure(Options):
    """How much sooner than by chance a secret would be guessed; see `canaries`."""

    template: str
    secret: str
    bits: float
    most_bits: float  # where the secret would be the first guess
    method: Literal["exact", "sampled", "skew-normal"]


class Baselines(Options):
    """Bits per character of counting models beside this one's, on the same text."""

    learnt_characters: int
    left_out_characters: int  # of training text
    characters: int  # measured
    model: float
    kneser_ney: float
    ppm: float


class Exchange(Options):
    """A row with another term in it."""

    text: str
    exchanged: str
    gap: float  # nats that the row costs more


class Direction(Options):
    """Rows that had ``term``, with ``other`` in its place."""

    term: str
    other: str
    rows: int
    gap: float  # nats a row, mean; above 0 where the row as it was is likelier
    low: float | None  # a bootstrap's interval of 95 %; None for fewer than 10 rows
    high: float | None
    gap_per_character: float
    likelier: float  # share of rows that are likelier after the exchange


class TermPair(Options):
    """Two terms, exchanged both ways."""

    term: str
    other: str
    preference: float  # nats a row in favour of ``term``, both ways weighing the same
    low: float | None
    high: float | None


class Bias(Options):
    """Of one list of terms."""

    terms: tuple[str, ...]
    rows: int  # with exactly one of them
    ambiguous_rows: int  # with several, left out
    left_out_rows: int  # for the limit of rows
    directions: tuple[Direction, ...]
    pairs: tuple[TermPair, ...]
    worst: tuple[Exchange, ...]


class LikelyToken(Options):
    """A token that could have come."""

    text: str
    probability: float


class TokenTrace(Options):
    """One token of a text, after all before it."""

    text: str  # special ids by their names
    nats: float | None  # its surprise; None for the first
    likeliest: tuple[LikelyToken, ...]  # in its place


class UnitTrace(Options):
    """What one unit does along the tokens."""

    unit: TracedUnit
    spread: float  # standard deviation of its values
    kinds: dict[str, float]  # of character that no cell follows better, with the correlation
    values: tuple[float, ...]  # after each token, from -1 to 1


class Traces(Options):
    """A text token by token: Karpathy et al. (2015), §4.2."""

    tokens: tuple[TokenTrace, ...]
    units: tuple[UnitTrace, ...]


class Report(Options):
    """All of one evaluation."""

    format: Literal[1] = 1
    model: ModelFacts
    text: TextFacts
    options: EvaluationOptions
    prediction: Prediction | None = None
    context: tuple[ContextLoss, ...] = ()
    calibration: Calibration | None = None
    rows: tuple[WorstRow, ...] = ()
    tasks: dict[ObjectiveName, TaskScores] = Field(default_factory=dict)
    classes: Classes | None = None
    samples: Samples | None = None
    memorisation: Memorisation | None = None
    canaries: tuple[CanaryExposure, ...] = ()
    baselines: Baselines | None = None
    bias: tuple[Bias, ...] = ()
    traces: Traces | None = None
    missing: dict[PartName, str] = Field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``Report.parse`` reads them back."""
        return self.model_dump(mode="json")

    def as_html(self, *, title: str = "Evaluation", stylesheet: str | None = None) -> str:
        """A page for people, whole in itself: no script, no style, nothing loaded.

        ``stylesheet`` is the address of one to link to, for who has one. It holds under a content
        security policy that allows nothing.
        """
        from textgen.evaluation.page import page

        return page(self, title, stylesheet)
