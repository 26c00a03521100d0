"""What is random in a step follows from the plan's seed and the step's number alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from textgen.plan import Plan


@contextmanager
def seeded_for_step(plan: Plan, step: int, device: torch.device) -> Iterator[None]:
    """Dropout's generators as they are in that step; the caller's are left as they were.

    So no generator has to be saved with a checkpoint.
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # A CPU's generator takes 32 bits of a seed; the factor keeps the steps of two apart.
        seed = (plan.seed * 2654435761 + step) % 2**32
        # torch.manual_seed would format three stack traces for devices that are not there, every
        # step: a third of a millisecond.
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield
