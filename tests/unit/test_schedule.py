from itertools import pairwise

import pytest

from textgen.options import ModelOptions
from textgen.plan import Plan
from textgen.training.schedule import learning_rate

PLAN = Plan(
    preset="lstm-tiny", model=ModelOptions(), tokenizer="char", vocab_size=5, batch_size=4,
    sequence_length=8, total_steps=100, warmup_steps=10, learning_rate=0.01,
    final_learning_rate=0.001, weight_decay=0.0, gradient_clip=1.0, seed=0, threads=1,
    validate_every=50, device="cpu", numerics="",
)  # fmt: skip


def test_it_rises_to_the_peak_and_falls_to_the_end() -> None:
    rates = [learning_rate(PLAN, step) for step in range(101)]
    assert all(later > earlier for earlier, later in pairwise(rates[:11]))
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert 0 < rates[0] < 0.002
    assert rates[10] == pytest.approx(0.01)
    assert rates[100] == pytest.approx(0.001)


def test_half_of_the_way_down_is_the_middle() -> None:
    assert learning_rate(PLAN, 55) == pytest.approx((0.01 + 0.001) / 2)


def test_one_step_without_a_warm_up_has_a_rate() -> None:
    plan = PLAN.model_copy(update={"total_steps": 1, "warmup_steps": 0})
    assert learning_rate(plan, 0) == pytest.approx(0.01)
