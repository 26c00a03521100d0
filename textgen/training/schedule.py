"""The learning rate of each step."""

from __future__ import annotations

import math

from textgen.plan import Plan


def learning_rate(plan: Plan, step: int) -> float:
    """The rate for step ``step``, counted from 0: a linear warm-up, then half a cosine.

    It depends on the plan and the step alone, so it is the same after any number of restarts
    (cosine: Loshchilov and Hutter 2017).
    """
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / (plan.warmup_steps + 1)
    length = max(plan.total_steps - plan.warmup_steps, 1)
    fraction = min((step - plan.warmup_steps) / length, 1.0)
    cosine = (1 + math.cos(math.pi * fraction)) / 2
    return plan.final_learning_rate + (plan.learning_rate - plan.final_learning_rate) * cosine
