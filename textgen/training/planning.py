"""From wishes to a plan: what the user left open is chosen or measured, and said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.labelled import LabelledTexts
from textgen.errors import InvalidOption
from textgen.events import OnEvent, choice
from textgen.numerics import precisions
from textgen.options import AUTO_PRESET, PRESETS, Hyperparameters, Preset
from textgen.plan import Plan
from textgen.presets import (
    CorpusStats,
    Pace,
    apply_hyperparameters,
    choose_preset,
    estimated_pace,
    fit_to_text,
)
from textgen.softmax import sampled_classes
from textgen.training.duration import finish, limits_of
from textgen.training.fine_tuning import (
    Base,
    kept_of_old,
    preset_of,
    say_what_is_not_practised,
)
from textgen.training.group import ALONE, Group
from textgen.training.mixture import make_mixture, without_labels
from textgen.training.repetition import against_repetition, say_dropouts
from textgen.training.step_timing import fastest_way, step_seconds, ways

_WHOLE_TEXTS = 0.9  # of the texts to be classified fit into one sequence, unless too long for it
_LONGEST_SEQUENCE = 256
_MEASURED, _MEASURED_ROWS = "lstm-small", 16  # what tells how fast this machine is
_BEGINNINGS = 1 / 8  # docs/experiments.md says what comes of none


def make_plan(
    corpus: EncodedCorpus,
    preset_name: str,
    wanted: Hyperparameters,
    *,
    device: torch.device,
    threads: int,
    on_event: OnEvent,
    base: Base | None = None,
    replay: EncodedCorpus | None = None,
    group: Group = ALONE,
) -> Plan:
    """The plan for training on ``corpus``; InvalidOption where the wishes contradict.

    It uses at most ``threads`` threads in each process of ``group``, fewer where that is faster,
    and leaves torch set to them.
    """
    if base is not None:
        say_what_is_not_practised(base, wanted, on_event)
    vocab_size = corpus.tokenizer.vocab_size
    stats = CorpusStats(
        tokens=corpus.splits["train"].tokens,
        vocab_size=vocab_size,
        sampled_classes=_sampled_classes(vocab_size, wanted, device, group, on_event),
        parts=len(wanted.weights) + (0 if replay is None else len(without_labels(wanted.weights))),
    )
    preset = _preset(corpus, stats, preset_name, wanted, device, threads, on_event, base, group)
    if "classify" in wanted.weights and wanted.sequence_length is None:
        preset = _long_enough(preset, corpus, on_event)
    plan = draft(corpus, preset_name, preset, wanted, device, threads, base)
    plan = plan.model_copy(
        update={
            **kept_of_old(wanted, replay, on_event),
            "sampled_classes": stats.sampled_classes,
            "workers": _workers(group, wanted, preset),
        }
    )
    limits = limits_of(preset_name, wanted, stats.tokens, on_event)
    mixture = make_mixture(plan, corpus, replay)
    possible = ways(device, threads, precisions(wanted.precision, device))
    times = {way: step_seconds(plan, mixture, way, group) for way in possible}
    way = fastest_way(times, on_event)
    torch.set_num_threads(way.threads)
    steps = limits.steps_of(mixture, times[way])
    plan = finish(plan, steps, way, limits.seconds, device)
    dropping = against_repetition(plan, stats.tokens, wanted)
    if limits.seconds is not None and dropping.model != plan.model:  # a step takes longer now
        steps = limits.steps_of(mixture, step_seconds(dropping, mixture, way, group))
        dropping = finish(dropping, steps, way, limits.seconds, device)
    say_dropouts(dropping, stats.tokens, wanted, on_event)
    return dropping


def _preset(
    corpus: EncodedCorpus,
    stats: CorpusStats,
    name: str,
    wanted: Hyperparameters,
    device: torch.device,
    threads: int,
    on_event: OnEvent,
    base: Base | None,
    group: Group,
) -> Preset:
    """The preset with the user's values, fitted to the text."""
    if base is not None:
        preset = apply_hyperparameters(preset_of(base, wanted, on_event), wanted)
    elif name == AUTO_PRESET:
        pace = _measured_pace(corpus, stats, wanted, device, threads, group)
        preset, reasons = choose_preset(stats, wanted, pace=pace)
        for reason in reasons:
            on_event(reason)
        return preset
    else:
        preset = apply_hyperparameters(named_preset(name), wanted)
    fitted = fit_to_text(preset, stats.tokens, wanted, stats.parts)
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


def named_preset(name: str) -> Preset:
    """The preset of that name; InvalidOption where there is none."""
    if name not in PRESETS:
        known = ", ".join((AUTO_PRESET, *PRESETS))
        raise InvalidOption(f"There is no preset {name!r}; there are {known}.", param="model")
    return PRESETS[name]


def _measured_pace(
    corpus: EncodedCorpus,
    stats: CorpusStats,
    wanted: Hyperparameters,
    device: torch.device,
    threads: int,
    group: Group,
) -> Pace:
    """How long a step takes here: one shape is measured, the others follow by their arithmetic."""
    estimated = estimated_pace(stats.classes, threads=threads * group.size, device=device.type)
    preset = PRESETS[_MEASURED].model_copy(update={"batch_size": _MEASURED_ROWS})
    preset = fit_to_text(preset, stats.tokens, Hyperparameters(), len(wanted.weights))
    if preset.batch_size < group.size:
        return estimated  # too few rows for all of them
    plan = draft(corpus, _MEASURED, preset, wanted, device, threads, None)
    plan = plan.model_copy(update={"sampled_classes": stats.sampled_classes})
    mixture = make_mixture(plan, corpus)
    first, *others = ways(device, threads, precisions(wanted.precision, device))
    likely = [first, *(way for way in others if replace(way, precision=first.precision) == first)]
    measured = min(step_seconds(plan, mixture, way, group) for way in likely)
    factor = measured / estimated(preset)
    return lambda other: factor * estimated(other)


def draft(
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
        beginnings=_BEGINNINGS if corpus.documents else 0.0,
        freeze_embeddings=wanted.freeze_embeddings,
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


def _sampled_classes(
    vocab_size: int,
    wanted: Hyperparameters,
    device: torch.device,
    group: Group,
    on_event: OnEvent,
) -> int:
    """As a plan has it, said where it is not as asked; InvalidOption where it cannot be so."""
    if wanted.softmax == "sampled" and group.size > 1:
        raise InvalidOption(
            f"'softmax' is sampled, but {group.size} workers share a training, and each would move "
            "other rows. Leave it out, or train with one worker.",
            param="softmax",
        )
    sampled = sampled_classes(vocab_size, wanted, device=device.type, workers=group.size)
    if wanted.softmax is None and sampled:
        reason = f"a step over all of {vocab_size:,} symbols would take longer and teach no more"
        on_event(choice("softmax", "sampled", reason))
    elif wanted.softmax == "sampled" and not sampled:
        reason = f"sampling among {vocab_size:,} symbols would save nothing"
        on_event(choice("softmax", "exact", reason))
    return sampled


def _workers(group: Group, wanted: Hyperparameters, preset: Preset) -> int:
    if wanted.workers not in (None, group.size):
        raise InvalidOption(
            f"'workers' is {wanted.workers}, but {group.size} processes were started. Leave it out "
            "where something else starts them.",
            param="workers",
        )
    if group.size > preset.batch_size:
        raise InvalidOption(
            f"'workers' is {group.size}, but a batch has {preset.batch_size} rows to share. Give "
            "fewer workers, or a larger batch_size.",
            param="workers",
        )
    return group.size
