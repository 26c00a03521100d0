import numpy as np
import pytest
import torch

from textgen.training.sampled_classes import SampledClasses

# Id i stands 50 - i times in the text.
TOKENS = np.repeat(np.arange(50, dtype=np.uint16), np.arange(50, 0, -1))
TARGETS = torch.tensor([3, 45, 45, 30, 0, 49])


def test_what_is_to_be_predicted_is_among_them_once() -> None:
    classes = SampledClasses(TOKENS, 50, 10, seed=1).choose(TARGETS, 0)
    assert torch.equal(classes.ids[classes.targets], TARGETS)
    assert len(classes.ids.unique()) == len(classes.ids) == 5 + 3 + 5
    assert classes.ids[:8].tolist() == [0, 1, 2, 3, 4, 30, 45, 49]


def test_step_and_seed_alone_say_what_is_drawn() -> None:
    sampled = SampledClasses(TOKENS, 50, 10, seed=1)
    first = sampled.choose(TARGETS, 7).ids
    sampled.choose(TARGETS, 8)
    assert torch.equal(first, SampledClasses(TOKENS, 50, 10, seed=1).choose(TARGETS, 7).ids)
    assert not torch.equal(first, sampled.choose(TARGETS, 8).ids)
    assert not torch.equal(first, SampledClasses(TOKENS, 50, 10, seed=2).choose(TARGETS, 7).ids)


def test_the_denominator_is_right_on_average() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0))
    sampled = SampledClasses(TOKENS, 50, 10, seed=1)
    sums = []
    for step in range(2000):
        classes = sampled.choose(TARGETS, step)
        sums.append((logits[classes.ids] + classes.shift).exp().sum().item())
    assert np.mean(sums) == pytest.approx(logits.exp().sum().item(), rel=0.01)


def test_with_room_for_all_it_is_all_and_none_is_shifted() -> None:
    classes = SampledClasses(TOKENS, 50, 200, seed=1).choose(TARGETS, 0)
    assert classes.ids.sort().values.tolist() == list(range(50))
    assert not classes.shift.any()
