"""From wishes to a plan: what the user left open is chosen or measured, and said."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from textgen.bundles.header import BundleHeader
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.labelled import LabelledTexts
from textgen.errors import InvalidOption
from textgen.events import Event, OnEvent, choice
from textgen.numerics import describe_numerics
from textgen.options import AUTO_PRESET, PRESETS, SHAPE_OPTIONS, Hyperparameters, Preset
from textgen.plan import Plan
from textgen.presets import (
    DEFAULT_SECONDS,
    CorpusStats,
    Pace,
    apply_hyperparameters,
    choose_preset,
    estimated_pace,
    fit_to_text,
)
from textgen.training.mixture import make_mixture
from textgen.training.step_timing import Way, fastest_way, step_seconds, ways

_AUTO_TOKENS = 10_000_000  # that a named preset reads where nobody says how long
_FEWEST_EPOCHS, _MOST_EPOCHS = 3, 30
_FINE_TUNING_RATE = 0.3  # of the peak from scratch: the weights are good already
_WHOLE_TEXTS = 0.9  # of the texts to be classified fit into one sequence, unless too long for it
_LONGEST_SEQUENCE = 256
_MEASURED = "lstm-small"  # what tells how fast this machine is
_FALL = 0.4  # of the steps, at the end; docs/experiments.md compares it with a cosine


@dataclass(frozen=True, slots=True)
class Base:
    """The bundle that a training starts from."""

    header: BundleHeader
    sha256: str


def make_plan(
    corpus: EncodedCorpus,
    preset_name: str,
    wanted: Hyperparameters,
    *,
    device: torch.device,
    threads: int,
    on_event: OnEvent,
    base: Base | None = None,
) -> Plan:
    """The plan for training on ``corpus``; InvalidOption where the wishes contradict.

    It uses at most ``threads`` threads, fewer where that is faster, and leaves torch set to them.
    """
    stats = CorpusStats(
        tokens=corpus.splits["train"].tokens, vocab_size=corpus.tokenizer.vocab_size
    )
    preset = _preset(corpus, stats, preset_name, wanted, device, threads, on_event, base)
    if "classify" in wanted.weights and wanted.sequence_length is None:
        preset = _long_enough(preset, corpus, on_event)
    plan = _draft(corpus, preset_name, preset, wanted, device, threads, base)
    seconds = wanted.max_seconds
    unlimited = wanted.max_steps is None and wanted.n_epochs == "auto" and seconds is None
    if unlimited and preset_name == AUTO_PRESET:
        seconds = DEFAULT_SECONDS
        on_event(choice("max_seconds", seconds, "no limit was given"))
    mixture = make_mixture(plan, corpus)
    times = {way: step_seconds(plan, mixture, way) for way in ways(device, threads)}
    way = fastest_way(times, on_event)
    torch.set_num_threads(way.threads)
    steps = [_steps_of_epochs(plan, stats.tokens, wanted, unlimited and seconds is None, on_event)]
    if wanted.max_steps is not None:
        steps.append(wanted.max_steps)
    if seconds is not None:
        steps.append(int(seconds / times[way]))
    return _finish(plan, min(steps), way, seconds, device)


def _preset(
    corpus: EncodedCorpus,
    stats: CorpusStats,
    name: str,
    wanted: Hyperparameters,
    device: torch.device,
    threads: int,
    on_event: OnEvent,
    base: Base | None,
) -> Preset:
    """The preset with the user's values, fitted to the text."""
    if base is not None:
        preset = apply_hyperparameters(_preset_of(base, wanted), wanted)
    elif name == AUTO_PRESET:
        pace = _measured_pace(corpus, stats, wanted, device, threads)
        preset, reasons = choose_preset(stats, wanted, pace=pace)
        for reason in reasons:
            on_event(reason)
        return preset
    elif name in PRESETS:
        preset = apply_hyperparameters(PRESETS[name], wanted)
    else:
        known = ", ".join((AUTO_PRESET, *PRESETS))
        raise InvalidOption(f"There is no preset {name!r}; there are {known}.", param="model")
    fitted = fit_to_text(preset, stats.tokens, wanted)
    for option in ("batch_size", "sequence_length"):
        if getattr(fitted, option) != getattr(preset, option):
            on_event(choice(option, getattr(fitted, option), "the text is short"))
    return fitted


def _long_enough(preset: Preset, corpus: EncodedCorpus, on_event: OnEvent) -> Preset:
    """The preset with sequences that hold most of the texts to be classified whole.

    What a label teaches goes no farther back than its sequence.
    """
    lengths = LabelledTexts(corpus, "train").lengths
    most = int(np.quantile(lengths, _WHOLE_TEXTS)) if len(lengths) else 0
    wanted = min(-(-most // 16) * 16, _LONGEST_SEQUENCE)
    if wanted <= preset.sequence_length:
        return preset
    reason = f"nine in ten of the texts have at most {most:,} tokens"
    on_event(choice("sequence_length", wanted, reason))
    return preset.model_copy(update={"sequence_length": wanted})


def _measured_pace(
    corpus: EncodedCorpus,
    stats: CorpusStats,
    wanted: Hyperparameters,
    device: torch.device,
    threads: int,
) -> Pace:
    """How long a step takes here: one shape is measured, the others follow by their arithmetic."""
    estimated = estimated_pace(stats.vocab_size, threads=threads, device=device.type)
    preset = fit_to_text(PRESETS[_MEASURED], stats.tokens, Hyperparameters())
    plan = _draft(corpus, _MEASURED, preset, wanted, device, threads, None)
    measured = step_seconds(plan, make_mixture(plan, corpus), ways(device, threads)[0])
    factor = measured / estimated(preset)
    return lambda other: factor * estimated(other)


def _preset_of(base: Base, wanted: Hyperparameters) -> Preset:
    """What trained the base, gentler; its shape stays, and a wish for another is refused."""
    model = base.header.model
    for option in SHAPE_OPTIONS:
        value = getattr(wanted, option)
        if value is not None and value != getattr(model, option):
            raise InvalidOption(
                f"{option!r} is {value}, but the model to continue from has "
                f"{getattr(model, option)}. Leave it out, or train from scratch.",
                param=option,
            )
    plan = base.header.plan
    near = PRESETS["lstm-small"]
    for preset in PRESETS.values():
        if preset.model.layers <= model.layers and preset.model.hidden_size <= model.hidden_size:
            near = preset
    return Preset(
        description="as the model to continue from",
        model=model,
        batch_size=near.batch_size if plan is None else plan.batch_size,
        sequence_length=near.sequence_length if plan is None else plan.sequence_length,
        learning_rate=near.learning_rate * _FINE_TUNING_RATE,
        weight_decay=near.weight_decay if plan is None else plan.weight_decay,
        gradient_clip=near.gradient_clip if plan is None else plan.gradient_clip,
    )


def _draft(
    corpus: EncodedCorpus,
    name: str,
    preset: Preset,
    wanted: Hyperparameters,
    device: torch.device,
    threads: int,
    base: Base | None,
) -> Plan:
    """All of the plan but how long and by which kernel."""
    return Plan(
        preset=name,
        base=None if base is None else base.sha256,
        model=preset.model,
        tokenizer=corpus.tokenizer.name,
        vocab_size=corpus.tokenizer.vocab_size,
        objectives=wanted.weights,
        batch_size=preset.batch_size,
        sequence_length=preset.sequence_length,
        total_steps=1,
        warmup_steps=0,
        decay_steps=0,
        learning_rate=preset.learning_rate,
        weight_decay=preset.weight_decay,
        gradient_clip=preset.gradient_clip,
        seed=0 if wanted.seed is None else wanted.seed,
        threads=threads,
        validate_every=1,
        max_seconds=None,
        patience=wanted.patience,
        device=str(device),
        numerics="",
    )


def _finish(plan: Plan, steps: int, way: Way, seconds: float | None, device: torch.device) -> Plan:
    steps = max(steps, 1)
    return plan.model_copy(
        update={
            "total_steps": steps,
            "warmup_steps": min(max(steps // 20, 1), 200, steps - 1),
            "decay_steps": int(_FALL * steps),
            "validate_every": max(-(-steps // 20), min(50, steps)),
            "max_seconds": seconds,
            "kernel": way.kernel,
            "threads": way.threads,
            "numerics": describe_numerics(device, way.threads, way.kernel),
        }
    )


def _steps_of_epochs(
    plan: Plan, tokens: int, wanted: Hyperparameters, unlimited: bool, on_event: OnEvent
) -> int:
    """Steps for the epochs asked for; for ever where others set the limit."""
    if wanted.n_epochs != "auto":
        epochs = wanted.n_epochs
    elif not unlimited:
        return 2**62
    else:
        epochs = min(max(round(_AUTO_TOKENS / tokens), _FEWEST_EPOCHS), _MOST_EPOCHS)
        on_event(choice("n_epochs", epochs, f"the text has {tokens:,} tokens"))
    return math.ceil(epochs * tokens / (plan.batch_size * plan.sequence_length))


def announce(plan: Plan, on_event: OnEvent) -> None:
    """Tell the plan; training starts when the listener has returned."""
    shape = f"{plan.model.layers}×{plan.model.hidden_size}"
    on_event(
        Event(
            "plan",
            f"{plan.total_steps:,} steps of {plan.batch_size}×{plan.sequence_length} tokens with "
            f"an LSTM of {shape}, learning rate {plan.learning_rate:g}",
            data={"plan": plan.model_dump(mode="json")},
        )
    )
