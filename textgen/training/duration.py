"""How many steps a training has, and what follows from that number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch

from textgen.events import OnEvent, choice
from textgen.numerics import describe_numerics
from textgen.options import AUTO_PRESET, Hyperparameters
from textgen.plan import Plan
from textgen.presets import DEFAULT_SECONDS
from textgen.training.mixture import Mixture
from textgen.training.step_timing import Way

_AUTO_TOKENS = 10_000_000  # that a named preset reads where nobody says how long
_FEWEST_EPOCHS, _MOST_EPOCHS = 3, 30
_FALL = 0.4  # of the steps, at the end; docs/experiments.md compares it with a cosine


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a training, each None where it does not; one of them is there."""

    steps: int | None
    epochs: float | None
    seconds: float | None

    def steps_of(self, mixture: Mixture, step_seconds: float) -> int:
        """The tightest, in steps of the mixture; at least 1."""
        found: list[int] = []
        if self.steps is not None:
            found.append(self.steps)
        if self.epochs is not None:
            found.append(math.ceil(Fraction(self.epochs) / mixture.share))
        if self.seconds is not None:
            found.append(int(self.seconds / step_seconds))
        return max(min(found), 1)


def limits_of(preset: str, wanted: Hyperparameters, tokens: int, on_event: OnEvent) -> Limits:
    """What the user has set; where that is nothing, what is usual for the preset."""
    epochs = None if wanted.n_epochs == "auto" else wanted.n_epochs
    limits = Limits(wanted.max_steps, epochs, wanted.max_seconds)
    if limits != Limits(None, None, None):
        return limits
    if preset == AUTO_PRESET:
        on_event(choice("max_seconds", DEFAULT_SECONDS, "no limit was given"))
        return Limits(None, None, DEFAULT_SECONDS)
    epochs = min(max(round(_AUTO_TOKENS / tokens), _FEWEST_EPOCHS), _MOST_EPOCHS)
    on_event(choice("n_epochs", epochs, f"the text has {tokens:,} tokens"))
    return Limits(None, epochs, None)


def finish(plan: Plan, steps: int, way: Way, seconds: float | None, device: torch.device) -> Plan:
    """The plan with its number of steps, and all that follows from it."""
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
            "precision": way.precision,
            "numerics": describe_numerics(
                device, way.threads, way.kernel, plan.workers, way.precision
            ),
        }
    )
