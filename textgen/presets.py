"""The shape of a training: a preset with the user's values, or chosen for text and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textgen.costs import parameters, tokens_per_second
from textgen.errors import InvalidOption
from textgen.events import Event, choice
from textgen.options import Hyperparameters, ModelOptions, Preset

DEFAULT_SECONDS = 300.0  # for lstm-auto where the user sets no limit
Pace = Callable[[Preset], float]  # seconds that a step takes
_WEIGHTS_PER_TOKEN = 20  # more than that and a text is learnt by heart, whatever the dropout


@dataclass(frozen=True, slots=True)
class CorpusStats:
    """What the choice of a shape depends on."""

    tokens: int  # of the training part
    vocab_size: int
    sampled_classes: int = 0  # that stand for all symbols in a step's softmax; 0 for all of them
    parts: int = 1  # objectives, and those of an old text, that share the rows of a batch

    @property
    def classes(self) -> int:
        """Symbols that a step's softmax is over, its targets aside."""
        return self.sampled_classes or self.vocab_size


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A shape, and the steps below which a smaller one learns more."""

    steps: int  # of a text that is read twice and more
    fresh: int  # of one of which nothing is read twice
    preset: Preset


def _candidate(
    steps: int, fresh: int, shape: tuple[int, int, int], batch: int, rate: float
) -> _Candidate:
    layers, hidden, embedding = shape
    model = ModelOptions(
        layers=layers, hidden_size=hidden, embedding_size=embedding, layer_norm=True
    )
    return _Candidate(
        steps,
        fresh,
        Preset(
            description=f"{layers}×{hidden}",
            model=model,
            batch_size=batch,
            sequence_length=64,
            learning_rate=rate,
        ),
    )


# Smallest first: one layer, as wide as leaves it about two thousand steps (measured on tiny
# Shakespeare for half a minute to two), more where it sees much text (10 MB of Python for the
# same times; beyond, extrapolated). docs/experiments.md. More layers learn slower.
_CANDIDATES: Sequence[_Candidate] = (
    _candidate(0, 0, (1, 128, 32), 16, 8e-3),
    _candidate(1_500, 2_500, (1, 192, 48), 16, 6e-3),
    _candidate(1_700, 3_400, (1, 256, 64), 16, 5e-3),
    _candidate(1_800, 5_000, (1, 384, 64), 16, 6e-3),
    _candidate(2_000, 12_000, (1, 512, 64), 16, 4e-3),
    _candidate(2_200, 25_000, (1, 768, 64), 16, 3e-3),
    _candidate(12_000, 50_000, (2, 1024, 128), 32, 2e-3),
    _candidate(30_000, 60_000, (3, 1024, 256), 64, 2e-3),
)


def choose_preset(
    stats: CorpusStats,
    hyperparameters: Hyperparameters,
    *,
    threads: int = 1,
    device: str = "cpu",
    pace: Pace | None = None,
) -> tuple[Preset, list[Event]]:
    """The shape for ``lstm-auto``: the largest that text and time suffice for.

    The second value are the ``choice`` events that tell the user what was chosen and why. What
    ``hyperparameters`` fix stays fixed. ``pace`` says how many seconds a step takes on this
    machine; without it that is estimated for ``threads`` cores or a GPU.
    """
    if pace is None:
        pace = estimated_pace(stats.classes, threads=threads, device=device)
    best, _ = _fitted(_CANDIDATES[0], stats, hyperparameters, pace)
    limit = "more would need a longer text or more time"
    for candidate in _CANDIDATES[1:]:
        preset, expected = _fitted(candidate, stats, hyperparameters, pace)
        needed = _steps_needed(candidate, preset, expected, stats)
        if expected < needed:
            limit = f"a larger one needs about {needed:,} steps and would get {expected:,}"
            break
        if parameters(preset.model, stats.vocab_size) > _WEIGHTS_PER_TOKEN * stats.tokens:
            limit = "a larger one would learn so short a text by heart"
            break
        best = preset
    return best, _reasons(best, limit)


def _steps_needed(candidate: _Candidate, preset: Preset, steps: int, stats: CorpusStats) -> int:
    """Below them a smaller one learns more; the more so, the less of the text is read twice."""
    epochs = steps * preset.batch_size * preset.sequence_length / stats.tokens
    fresh = max(1 - epochs / 2, 0.0)
    return round(candidate.steps + fresh * (candidate.fresh - candidate.steps))


def estimated_pace(classes: int, *, threads: int = 1, device: str = "cpu") -> Pace:
    """About how long a step takes whose softmax is over ``classes``, by its arithmetic alone."""

    def pace(preset: Preset) -> float:
        rate = tokens_per_second(preset.model, classes, threads=threads, device=device)
        return preset.batch_size * preset.sequence_length / rate

    return pace


def _fitted(
    candidate: _Candidate, stats: CorpusStats, wanted: Hyperparameters, pace: Pace
) -> tuple[Preset, int]:
    """The candidate with the user's values, and the steps it would get."""
    preset = apply_hyperparameters(candidate.preset, wanted)
    preset = fit_to_text(preset, stats.tokens, wanted, stats.parts)
    per_step = preset.batch_size * preset.sequence_length
    limits = []
    if wanted.max_steps is not None:
        limits.append(float(wanted.max_steps))
    if wanted.n_epochs != "auto":
        limits.append(wanted.n_epochs * stats.tokens / per_step)
    seconds = wanted.max_seconds
    if seconds is None and not limits:
        seconds = DEFAULT_SECONDS
    if seconds is not None:
        limits.append(seconds / pace(preset))
    return preset, max(1, int(min(limits)))


def _reasons(preset: Preset, limit: str) -> list[Event]:
    shape = f"{preset.model.layers}×{preset.model.hidden_size}"
    return [
        choice("model", shape, limit),
        choice("batch_size", preset.batch_size, "small batches make more steps in the same time"),
    ]


def apply_hyperparameters(preset: Preset, wanted: Hyperparameters) -> Preset:
    """The preset with the values that the user fixed."""
    names = ("sequence_length", "weight_decay", "gradient_clip")
    model_values = _given(wanted, tuple(ModelOptions.model_fields))
    if wanted.tie_weights and wanted.embedding_size is None:
        hidden = model_values.get("hidden_size", preset.model.hidden_size)
        model_values["embedding_size"] = hidden
    model = preset.model.model_copy(update=model_values)
    if model.tie_weights and model.embedding_size != model.hidden_size:
        raise InvalidOption(
            f"'tie_weights' needs embedding_size = hidden_size; they are {model.embedding_size} "
            f"and {model.hidden_size}. Leave embedding_size out, or tie_weights.",
            param="tie_weights",
        )
    values = {**_given(wanted, names), "model": model}
    if wanted.batch_size != "auto":
        values["batch_size"] = wanted.batch_size
    rate = preset.learning_rate if wanted.learning_rate is None else wanted.learning_rate
    if wanted.learning_rate_multiplier != "auto":
        rate *= wanted.learning_rate_multiplier
    return preset.model_copy(update={**values, "learning_rate": rate})


def _given(wanted: Hyperparameters, names: Sequence[str]) -> dict[str, object]:
    values = {name: getattr(wanted, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def fit_to_text(preset: Preset, tokens: int, wanted: Hyperparameters, parts: int = 1) -> Preset:
    """The preset with batch and sequence made so small that a text of ``tokens`` fills a step.

    What the user fixed is kept as long as a step can be filled at all. There is a row for each of
    the ``parts`` that share a batch, where the preset has as many.
    """
    room = max(tokens - 1, 1)  # the last token is only a target
    roomy = room if wanted.sequence_length is not None else max(room // 4, 1)
    sequence = min(preset.sequence_length, roomy)
    streams = room // sequence if wanted.batch_size != "auto" else room // (4 * sequence)
    batch = max(1, min(preset.batch_size, max(streams, parts)))
    return preset.model_copy(update={"batch_size": batch, "sequence_length": sequence})
