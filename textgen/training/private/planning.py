"""The plan of a private training: how much noise the budget needs, and whether it leaves a signal.

Nothing here depends on the documents but how many there are: not the shape, not the time that a
step is thought to take.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from textgen.corpus.dataset import EncodedCorpus
from textgen.errors import InvalidOption
from textgen.events import Event, OnEvent, choice
from textgen.options import AUTO_PRESET, Hyperparameters, Preset
from textgen.plan import Plan, PrivacyPlan
from textgen.presets import DEFAULT_SECONDS, apply_hyperparameters
from textgen.privacy_options import DROPOUTS, PrivacyOptions
from textgen.training.duration import finish
from textgen.training.fine_tuning import Base, preset_of
from textgen.training.group import ALONE, Group
from textgen.training.planning import draft, named_preset
from textgen.training.private.accountant import Accountant, least_noise
from textgen.training.private.documents import Documents, protected_documents
from textgen.training.private.trainer import PrivateTrainer
from textgen.training.step_timing import Way, fastest_way, seconds_of
from textgen.training.trainer import new_model

_AUTO = "lstm-tiny"  # docs/experiments.md: noise grows with the weights, what is learnt does not
_ROWS = 64  # documents computed at once
_DRAWN = 512  # documents a step
_EPOCHS = 20
_RATE = 2  # of the preset's: the mean of many documents allows larger steps
# Of the noise in the mean gradient, in units of the largest gradient of a document. With that much
# a model does hardly better than counting single bytes (docs/experiments.md).
_DROWNED = 0.05


def make_private_plan(
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
    """The plan for ``wanted.privacy``; InvalidOption where documents or budget do not allow it.

    It uses at most ``threads`` threads, fewer where that is faster, and leaves torch set to them.
    """
    privacy = wanted.privacy
    if privacy is None:
        raise ValueError("this is no private training")
    if replay is not None:
        raise InvalidOption(
            "An old text cannot be read beside private documents, since it would not be protected. "
            "Leave out one of 'replay' and 'privacy'.",
            param="privacy",
        )
    if group.size > 1:
        raise InvalidOption(
            f"'workers' is {group.size}, but a private training is one process. Leave it out.",
            param="workers",
        )
    documents = protected_documents(corpus, privacy.max_document_tokens)
    preset = _preset(preset_name, wanted, privacy, on_event, base)
    plan = draft(corpus, preset_name, preset, wanted, device, threads, base)
    drawn = _draft(privacy, len(documents))
    times = {way: _step_seconds(plan, drawn, way) for way in _ways(threads)}
    way = fastest_way(times, on_event)
    torch.set_num_threads(way.threads)
    steps, seconds = _steps(drawn, preset_name, wanted, times[way], on_event)
    calibrated = _calibrated(drawn, steps)
    plan = finish(plan, steps, way, seconds, device).model_copy(update={"privacy": calibrated})
    on_event(_promise(plan, calibrated, documents.cut))
    return plan


def _preset(
    name: str,
    wanted: Hyperparameters,
    privacy: PrivacyOptions,
    on_event: OnEvent,
    base: Base | None,
) -> Preset:
    """The preset with the user's values, for documents, without dropout."""
    if base is not None:
        preset = preset_of(base, wanted, on_event)
    else:
        if name == AUTO_PRESET:
            name = _AUTO
            on_event(choice("model", name, "the noise grows with the number of weights"))
        preset = named_preset(name)
        rate = _RATE * preset.learning_rate
        preset = preset.model_copy(update={"learning_rate": rate})
    dropouts = {**dict.fromkeys(DROPOUTS, 0.0), "output_dropout": None}
    preset = apply_hyperparameters(preset, wanted)
    return preset.model_copy(
        update={
            "model": preset.model.model_copy(update=dropouts),
            "batch_size": _ROWS if wanted.batch_size == "auto" else wanted.batch_size,
            "sequence_length": privacy.max_document_tokens,
        }
    )


def _draft(privacy: PrivacyOptions, documents: int) -> PrivacyPlan:
    """All but the noise."""
    delta = 1 / (10 * documents) if privacy.delta is None else privacy.delta
    if delta * documents >= 1:
        raise InvalidOption(
            f"'privacy.delta' is {delta:g}, and there are {documents:,} documents: it would allow "
            f"to publish one of them whole. Give less than {1 / documents:.1g}, or leave it out.",
            param="privacy.delta",
        )
    drawn = _DRAWN if privacy.documents_per_step is None else privacy.documents_per_step
    return PrivacyPlan(
        epsilon=privacy.epsilon,
        delta=delta,
        noise_multiplier=1.0,
        max_gradient_norm=privacy.max_gradient_norm,
        documents=documents,
        documents_per_step=min(drawn, documents),
    )


def _ways(threads: int) -> list[Way]:
    return [Way("native", count) for count in dict.fromkeys((threads, 1))]


def _step_seconds(plan: Plan, privacy: PrivacyPlan, way: Way) -> float:
    """How long a step takes, on weights and documents that are made up, all of the longest."""
    torch.set_num_threads(way.threads)
    rows = min(plan.batch_size, privacy.documents_per_step)
    document = np.ones(plan.sequence_length, np.uint16)
    document[-1] = 0
    documents = Documents(np.append([0], np.tile(document, rows)), 0, plan.sequence_length)
    some = privacy.model_copy(update={"documents": rows, "documents_per_step": rows})
    plan = plan.model_copy(update={"total_steps": 2**30})
    trainer = PrivateTrainer(plan, some, new_model(plan).to(plan.device), documents)
    return seconds_of(trainer) * privacy.documents_per_step / rows


def _steps(
    privacy: PrivacyPlan,
    preset: str,
    wanted: Hyperparameters,
    step_seconds: float,
    on_event: OnEvent,
) -> tuple[int, float | None]:
    """How many, and the seconds that they are meant to take where that is what limits them."""
    seconds, epochs = wanted.max_seconds, wanted.n_epochs
    if wanted.max_steps is None and epochs == "auto" and seconds is None:
        if preset == AUTO_PRESET:
            seconds = DEFAULT_SECONDS
            on_event(choice("max_seconds", seconds, "no limit was given"))
        else:
            epochs = _EPOCHS
            on_event(choice("n_epochs", epochs, "no limit was given"))
    limits = []
    if wanted.max_steps is not None:
        limits.append(wanted.max_steps)
    if epochs != "auto":
        limits.append(math.ceil(epochs / privacy.sample_rate))
    if seconds is not None:
        limits.append(int(seconds / step_seconds))
    return max(min(limits), 1), seconds


def _calibrated(privacy: PrivacyPlan, steps: int) -> PrivacyPlan:
    """With the least noise that the budget allows; InvalidOption where it leaves no signal."""
    noise = least_noise(privacy.epsilon, privacy.delta, privacy.sample_rate, steps)
    most = _DROWNED * privacy.documents_per_step
    if noise is None or noise > most:
        accountant = Accountant(privacy.sample_rate, most, privacy.delta)
        fewer = _affordable(accountant, privacy.epsilon, steps)
        less = f"at most {fewer:,} steps, " if fewer else ""
        raise InvalidOption(
            f"'privacy.epsilon' is {privacy.epsilon:g}: {steps:,} steps of about "
            f"{privacy.documents_per_step:,} of {privacy.documents:,} documents would need so "
            "much noise that hardly anything could be learnt. Possible are an epsilon of "
            f"{_rounded_up(accountant.epsilon(steps)):g} or more, {less}or more documents.",
            code="budget_too_small",
            param="privacy.epsilon",
        )
    return privacy.model_copy(update={"noise_multiplier": noise})


def _rounded_up(value: float) -> float:
    """To two digits, so that what is said is enough."""
    digit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / digit) * digit:.2g}")


def _affordable(accountant: Accountant, epsilon: float, too_many: int) -> int:
    """The most steps that cost no more than ``epsilon``."""
    enough = 0
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        if accountant.epsilon(middle) <= epsilon:
            enough = middle
        else:
            too_many = middle
    return enough


def _promise(plan: Plan, privacy: PrivacyPlan, cut: int) -> Event:
    message = (
        f"Each of {privacy.documents:,} documents is protected with epsilon "
        f"{privacy.epsilon:g}, delta {privacy.delta:.1g}; noise multiplier "
        f"{privacy.noise_multiplier:.3g}"
    )
    if cut:
        message += f". {cut:,} are longer than {plan.sequence_length} tokens: only their "
        message += "beginning is learnt"
    if plan.base is not None:
        message += ". What the base model was trained on is not protected"
    return Event("privacy", message, data={**privacy.model_dump(), "cut_documents": cut})
