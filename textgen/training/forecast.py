"""How long a training will take, from the file to the finished model, found by beginning it.

The text is encoded, the training planned and some of its steps and a validation run, all as the
training itself does it, in a folder that is thrown away. What is left is arithmetic.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from textgen.allocator import keep_freed_memory
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.sources import Source
from textgen.evaluation.measures import tune_temperature
from textgen.evaluation.validation import share_looked_at, validate
from textgen.events import Event
from textgen.numerics import pick_device
from textgen.options import AUTO_PRESET, Hyperparameters
from textgen.plan import Plan
from textgen.training.finish import tuning_text
from textgen.training.preparation import prepared_corpus, prepared_plan, prepared_steps
from textgen.training.steps import Steps
from textgen.training.trainer import new_model

_MEASURE_SECONDS = 5.0
_STEPS = (3, 400)  # at least and at most
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds of each part of a training, and what it will be."""

    seconds: float  # all of it
    starting_seconds: float  # a process that loads torch
    preparing_seconds: float  # reading, the vocabulary, encoding, planning
    training_seconds: float
    validating_seconds: float
    steps: int
    step_seconds: float
    model: str
    parameters: int
    threads: int
    corpus: dict[str, Any]
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def forecast(
    sources: Sequence[Source],
    preset: str = AUTO_PRESET,
    hyperparameters: Hyperparameters | None = None,
    *,
    validation_sources: Sequence[Source] = (),
    device: str = "auto",
    threads: int = 1,
    starting_seconds: float = 0.0,
) -> Forecast:
    """What a training with these arguments would take here, now.

    It takes some seconds itself, and the time that the text needs to be encoded.
    """
    wanted = Hyperparameters() if hyperparameters is None else hyperparameters
    where, told = pick_device(device), list[Event]()
    keep_freed_memory()  # as the training does
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        corpus, wanted = prepared_corpus(
            (sources, validation_sources, ()), wanted, Path(folder), told.append
        )
        plan = prepared_plan(
            corpus, preset, wanted, device=where, threads=threads, on_event=told.append
        )
        preparing = time.perf_counter() - began
        trainer = prepared_steps(plan, new_model(plan).to(where), corpus)
        a_step = _step_seconds(trainer)
        validating = _validating_seconds(trainer, plan, corpus)
        parameters = sum(each.numel() for each in trainer.model.parameters())
    training = plan.total_steps * a_step
    return Forecast(
        seconds=starting_seconds + preparing + training + validating,
        starting_seconds=starting_seconds,
        preparing_seconds=preparing,
        training_seconds=training,
        validating_seconds=validating,
        steps=plan.total_steps,
        step_seconds=a_step,
        model=f"{plan.model.layers}×{plan.model.hidden_size}",
        parameters=parameters,
        threads=plan.threads,
        corpus=corpus.as_dict(),
        reasons=tuple(event.message for event in told if event.type == "choice"),
    )


def _step_seconds(trainer: Steps) -> float:
    """The mean: what else the machine does will slow the training too."""
    for _ in range(_WARM_UP):
        trainer.advance()
    fewest, most = _STEPS
    began, steps = time.perf_counter(), 0
    while steps < fewest or (steps < most and time.perf_counter() - began < _MEASURE_SECONDS):
        trainer.advance()
        steps += 1
    return (time.perf_counter() - began) / steps


def _validating_seconds(trainer: Steps, plan: Plan, corpus: EncodedCorpus) -> float:
    """All validations on the way; at the end the one on everything and the temperature."""
    began = time.perf_counter()
    if validate(trainer.model, corpus, plan, "valid", whole=False) is None:
        return 0.0
    once = time.perf_counter() - began
    whole = once / share_looked_at(corpus, plan, "valid")
    tuning = _tuning_seconds(trainer, plan, corpus)
    return once * -(-plan.total_steps // plan.validate_every) + whole + tuning


def _tuning_seconds(trainer: Steps, plan: Plan, corpus: EncodedCorpus) -> float:
    if "causal" not in plan.objectives:
        return 0.0
    began = time.perf_counter()
    tune_temperature(trainer.model, *tuning_text(corpus, plan))
    return time.perf_counter() - began
