import math

import numpy as np
import pytest
import torch
from scipy import stats

from textgen.training.private.randomness import KEY_BYTES, SecretRandomness

KNOWN = SecretRandomness(bytes(range(KEY_BYTES)))


def test_keys_differ_and_are_not_shown() -> None:
    first, second = SecretRandomness(), SecretRandomness()
    assert len(first.key) == KEY_BYTES
    assert first.key != second.key
    assert repr(first) == "SecretRandomness()"


def test_all_follows_from_key_and_step() -> None:
    again = SecretRandomness(KNOWN.key)
    assert torch.equal(KNOWN.noise(7, 100), again.noise(7, 100))
    assert np.array_equal(KNOWN.draw(7, 500, 0.3), again.draw(7, 500, 0.3))
    for other in (KNOWN.noise(8, 100), SecretRandomness().noise(7, 100)):
        assert not (KNOWN.noise(7, 100) == other).any()
    assert not np.array_equal(KNOWN.draw(7, 500, 0.3), KNOWN.draw(8, 500, 0.3))


def test_the_noise_is_standard_normal_and_independent() -> None:
    noise = torch.cat([KNOWN.noise(step, 20_000) for step in range(5)]).numpy()
    assert noise.dtype == np.float64
    assert stats.kstest(noise, "norm").pvalue > 0.01
    assert abs(noise.std() - 1) < 5 / math.sqrt(2 * len(noise))
    assert abs((noise[1:] * noise[:-1]).mean()) < 5 / math.sqrt(len(noise))
    assert len(np.unique(noise)) == len(noise)


def test_each_document_is_drawn_by_itself_with_the_rate() -> None:
    steps, count, rate = 400, 300, 0.07
    drawn = np.zeros((steps, count), bool)
    for step in range(steps):
        drawn[step, KNOWN.draw(step, count, rate)] = True
    deviation = math.sqrt(rate * (1 - rate) / drawn.size)
    assert abs(drawn.mean() - rate) < 5 * deviation
    # The sizes of the steps vary as a binomial's, not as those of a shuffled corpus (0).
    assert drawn.sum(1).var() == pytest.approx(count * rate * (1 - rate), rel=0.3)
    assert drawn.sum(0).var() == pytest.approx(steps * rate * (1 - rate), rel=0.3)


@pytest.mark.parametrize(("rate", "drawn"), [(1.0, 50), (0.0, 0)])
def test_all_and_none(rate: float, drawn: int) -> None:
    assert len(KNOWN.draw(0, 50, rate)) == drawn
