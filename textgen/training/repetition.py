"""Dropout for a text that is read again and again; docs/experiments.md has the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from textgen.costs import parameters
from textgen.events import OnEvent, choice
from textgen.options import Hyperparameters
from textgen.plan import Plan

_SHARE = 0.75  # of the largest dropouts where there is a weight for each token of the text


@dataclass(frozen=True, slots=True)
class Growth:
    """A dropout that grows with each pass over the text, after the ``first``, up to ``most``.

    Where weights are few for the text, up to a ``share`` of it: they can learn less by heart.
    """

    option: str
    a_pass: float
    most: float
    first: int = 0

    def after_passes(self, epochs: float, share: float = 1.0) -> float:
        """Its value for so many passes; none for fewer than two."""
        grown = 0.0 if epochs < 2 else self.a_pass * max(epochs - self.first, 0)
        return round(min(grown, share * self.most), 2)


FROM_SCRATCH = (
    Growth("dropout", 0.06, 0.6, first=2),
    Growth("input_dropout", 0.015, 0.2, first=2),
    Growth("weight_dropout", 0.01, 0.3, first=10),
)
# Less than from scratch, and of nothing but what each layer gives out.
FINE_TUNING = (
    Growth("dropout", 0.02, 0.3),
    *(Growth(f"{what}_dropout", 0, 0) for what in ("input", "weight")),
)


def passes(plan: Plan, tokens: int) -> float:
    """How often the plan reads a new text of ``tokens``."""
    new = plan.batch_size * plan.sequence_length * (1 - plan.replay_fraction)
    return plan.total_steps * new / tokens


def against_repetition(plan: Plan, tokens: int, wanted: Hyperparameters) -> Plan:
    """The plan with dropouts for the number of times that it reads a text of ``tokens``.

    What the user fixed stays; with ``dropout`` fixed nothing else is chosen either. Labels are
    learnt without: the rule was measured for the next token, and a small classifier learns nothing
    under it.
    """
    if not _chosen(plan, wanted):
        return plan
    epochs = passes(plan, tokens)
    share = 1.0
    if plan.base is None:
        weights = parameters(plan.model, plan.vocab_size)
        share = min(_SHARE * math.sqrt(weights / tokens), 1.0)
    update = {
        each.option: each.after_passes(epochs, share)
        for each in _growth(plan)
        if getattr(wanted, each.option) is None
    }
    return plan.model_copy(update={"model": plan.model.model_copy(update=update)})


def say_dropouts(plan: Plan, tokens: int, wanted: Hyperparameters, on_event: OnEvent) -> None:
    """Tell those that were chosen, and why."""
    if not _chosen(plan, wanted):
        return
    reason = f"the text of {tokens:,} tokens is seen about {passes(plan, tokens):.1f} times"
    for each in _growth(plan):
        if getattr(wanted, each.option) is None and each.most > 0:
            on_event(choice(each.option, getattr(plan.model, each.option), reason))


def _growth(plan: Plan) -> Sequence[Growth]:
    return FROM_SCRATCH if plan.base is None else FINE_TUNING


def _chosen(plan: Plan, wanted: Hyperparameters) -> bool:
    """Whether dropouts are left to the plan."""
    return wanted.dropout is None and "classify" not in plan.objectives
