from itertools import pairwise

import pytest

from textgen.options import ModelOptions
from textgen.plan import Plan
from textgen.training.schedule import learning_rate

PLAN = Plan(
    preset="lstm-tiny", model=ModelOptions(), tokenizer="char", vocab_size=5, batch_size=4,
    sequence_length=8, total_steps=100, warmup_steps=10, learning_rate=0.01,
    decay_steps=40, weight_decay=0.0, gradient_clip=1.0, seed=0, threads=1,
    validate_every=50, device="cpu", numerics="",
)  # fmt: skip


def test_it_rises_stays_and_falls_to_nothing() -> None:
    rates = [learning_rate(PLAN, step) for step in range(101)]
    assert all(later > earlier for earlier, later in pairwise(rates[:11]))
    assert 0 < rates[0] < 0.002
    assert set(rates[10:61]) == {0.01}
    assert all(later < earlier for earlier, later in pairwise(rates[60:]))
    assert rates[80] == pytest.approx(0.005)
    assert 0 < rates[99] < 0.001
    assert rates[100] == 0


def test_a_plan_without_a_fall_stays_at_its_peak() -> None:
    plan = PLAN.model_copy(update={"decay_steps": 0})
    assert learning_rate(plan, 99) == 0.01


def test_one_step_without_a_warm_up_has_a_rate() -> None:
    plan = PLAN.model_copy(update={"total_steps": 1, "warmup_steps": 0, "decay_steps": 0})
    assert learning_rate(plan, 0) == pytest.approx(0.01)
