"""How long a training step takes, by each way there is to compute it.

Measuring runs throw-away steps on a model of its own; every random generator is left as it was.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from textgen.events import OnEvent, choice
from textgen.options import Precision
from textgen.plan import Kernel, Plan
from textgen.training.group import ALONE, Group
from textgen.training.mixture import Mixture
from textgen.training.steps import Steps
from textgen.training.trainer import Trainer, new_model

_MEASURE_SECONDS = 0.5  # for each way
_MEASURE_STEPS = (2, 50)  # at least and at most
_CLEARLY_FASTER = 0.9  # of the time; near ties must not be decided by noise


@dataclass(frozen=True, slots=True)
class Way:
    """How to compute: an LSTM kernel, a number of CPU threads and a precision."""

    kernel: Kernel
    threads: int
    precision: Precision = "float32"

    def __str__(self) -> str:
        precision = "" if self.precision == "float32" else f" in {self.precision}"
        return f"{self.kernel} on {self.threads} thread{'s' * (self.threads > 1)}{precision}"


def ways(
    device: torch.device, threads: int, precisions: Sequence[Precision] = ("float32",)
) -> tuple[Way, ...]:
    """What to measure, most likely the best first.

    One thread wins where layers are so narrow, or other programs so busy, that two wait for each
    other more than they compute.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return tuple(Way("native", threads, precision) for precision in precisions)
    counts = dict.fromkeys((threads, 1))
    found = [Way("onednn", count, precision) for precision in precisions for count in counts]
    if "float32" in precisions:  # torch's own loops are slow in anything shorter
        found.append(Way("native", threads))
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


def step_seconds(plan: Plan, mixture: Mixture, way: Way, group: Group = ALONE) -> float:
    """How long a step of this shape takes, on weights that are thrown away.

    Their median: a training that is planned too fast is cut off before its learning rate falls.
    """
    torch.set_num_threads(way.threads)
    changes = {"kernel": way.kernel, "precision": way.precision, "total_steps": 2**30}
    plan = plan.model_copy(update=changes)
    return seconds_of(Trainer(plan, new_model(plan).to(plan.device), mixture, group))


def seconds_of(trainer: Steps) -> float:
    """How long a step of ``trainer`` takes, by some that it makes."""
    trainer.advance()
    times: list[float] = []
    fewest, most = _MEASURE_STEPS
    while len(times) < fewest or (len(times) < most and sum(times) < _MEASURE_SECONDS):
        started = time.perf_counter()
        trainer.advance()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
