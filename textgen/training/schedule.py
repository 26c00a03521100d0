"""The learning rate of each step."""

from __future__ import annotations

from textgen.plan import Plan


def learning_rate(plan: Plan, step: int) -> float:
    """The rate for step ``step``, counted from 0: a linear rise, a plateau, a linear fall to 0.

    Warm-up, stable, decay (Hägele et al. 2024, §3). It depends on the plan and the step alone, so
    it is the same after any number of restarts.
    """
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / (plan.warmup_steps + 1)
    left = max(plan.total_steps - step, 0)
    return plan.learning_rate * min(left / max(plan.decay_steps, 1), 1.0)
