import pytest

from textgen.errors import InvalidOption
from textgen.options import ModelOptions
from textgen.plan import Plan

VALUES = {
    "preset": "lstm-tiny",
    "model": ModelOptions(),
    "tokenizer": "char",
    "vocab_size": 65,
    "batch_size": 16,
    "sequence_length": 64,
    "total_steps": 100,
    "warmup_steps": 10,
    "learning_rate": 0.01,
    "decay_steps": 40,
    "weight_decay": 0.01,
    "gradient_clip": 1.0,
    "seed": 0,
    "threads": 1,
    "validate_every": 50,
    "device": "cpu",
    "numerics": "cpu float32",
}


def test_a_plan_survives_json_with_the_same_digest() -> None:
    plan = Plan.parse(VALUES)
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert again.digest() == plan.digest()


def test_any_change_changes_the_digest() -> None:
    plan = Plan.parse(VALUES)
    assert Plan.parse({**VALUES, "seed": 1}).digest() != plan.digest()


def test_an_impossible_plan_is_refused() -> None:
    with pytest.raises(InvalidOption, match="total_steps"):
        Plan.parse({**VALUES, "total_steps": 0})
