"""How long a training step takes, by each way there is to compute it.

Measuring runs throw-away steps on a model of its own; every random generator is left as it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from textgen.events import OnEvent, choice
from textgen.numerics import multiplies_bfloat16
from textgen.options import PrecisionName
from textgen.plan import Kernel, Plan
from textgen.training.mixture import Mixture
from textgen.training.steps import Steps
from textgen.training.trainer import Trainer, new_model

_MEASURE_SECONDS = 0.5  # for each way
_MEASURE_STEPS = (2, 50)  # at least and at most
_CLEARLY_FASTER = 0.9  # of the time; near ties must not be decided by noise


@dataclass(frozen=True, slots=True)
class Way:
    """How to compute: an LSTM kernel and a number of CPU threads."""

    kernel: Kernel
    threads: int

    def __str__(self) -> str:
        return f"{self.kernel} on {self.threads} thread{'s' * (self.threads > 1)}"


def ways(
    device: torch.device, threads: int, precision: PrecisionName | None = None
) -> tuple[Way, ...]:
    """What to measure, most likely the best first.

    One thread wins where layers are so narrow, or other programs so busy, that two wait for each
    other more than they compute. bfloat16 is among them where the processor multiplies it and
    ``precision`` is not float32.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return (Way("native", threads),)
    counts = dict.fromkeys((threads, 1))
    found = [*(Way("onednn", count) for count in counts), Way("native", threads)]
    if precision != "float32" and multiplies_bfloat16("onednn-bf16"):
        found += [Way("onednn-bf16", count) for count in counts]
    return tuple(found)


def fastest_way(times: dict[Way, float], on_event: OnEvent) -> Way:
    """The first, unless another is clearly faster: two measurements should agree."""
    first = next(iter(times))
    best = min(times, key=lambda way: times[way])
    if times[best] > _CLEARLY_FASTER * times[first]:
        best = first
    shown = ", ".join(f"{way} {seconds * 1e3:.1f} ms" for way, seconds in times.items())
    on_event(choice("kernel", str(best), f"a step takes: {shown}"))
    return best


def step_seconds(plan: Plan, mixture: Mixture, way: Way) -> float:
    """How long a step of this shape takes, on weights that are thrown away.

    A quarter of the steps were faster: what other programs did meanwhile counts little.
    """
    torch.set_num_threads(way.threads)
    plan = plan.model_copy(update={"kernel": way.kernel, "total_steps": 2**30})
    return seconds_of(Trainer(plan, new_model(plan).to(plan.device), mixture))


def seconds_of(trainer: Steps) -> float:
    """How long a step of ``trainer`` takes, by some that it makes."""
    trainer.advance()
    times: list[float] = []
    fewest, most = _MEASURE_STEPS
    while len(times) < fewest or (len(times) < most and sum(times) < _MEASURE_SECONDS):
        started = time.perf_counter()
        trainer.advance()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 4]
