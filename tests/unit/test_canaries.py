from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from tests.random_models import BundleMaker
from textgen.errors import InvalidOption
from textgen.evaluation import canaries
from textgen.evaluation.canaries import Exposure, exposure
from textgen.evaluation.options import Canary
from textgen.evaluation.scoring import score_rows


def costs(nats: dict[str, float]) -> canaries.Scorer:
    return lambda texts: (nats[text] for text in texts)


def test_exposure_is_that_of_the_rank_among_all() -> None:
    nats = {"it is aa!": 3.0, "it is ab!": 1.0, "it is ba!": 2.0, "it is bb!": 9.0}
    found = {
        secret: exposure(costs(nats), canary("it is {}!", secret, "ab"))
        for secret in ("aa", "ab", "ba", "bb")
    }
    assert found["ab"] == Exposure(2.0, 4, 1.0, "exact")
    assert found["ba"].bits == 1.0
    assert found["aa"].bits == pytest.approx(2 - math.log2(3))
    assert found["bb"].bits == 0.0


def canary(template: str, secret: str, alphabet: str = "0123456789") -> Canary:
    return Canary(template=template, secret=secret, alphabet=alphabet)


def digits_cost(texts: Iterable[str]) -> Iterator[float]:
    """As if each digit cost nats of its own: a sum of many, thus nearly normal."""
    return (sum(map(int, text.removeprefix("n "))) / 3 for text in texts)


def true_exposure(secret: str) -> float:
    """The share of secrets whose digits sum to no more, by convolution."""
    counts = [1]
    for _ in secret:
        counts = [sum(counts[max(0, s - 9) : s + 1]) for s in range(len(counts) + 9)]
    total = sum(map(int, secret))
    return -math.log2(sum(counts[: total + 1]) / 10 ** len(secret))


@pytest.mark.parametrize("secret", ["555555555555", "333333333333"])
def test_a_common_secret_is_counted_among_samples(secret: str) -> None:
    found = exposure(digits_cost, canary("n {}", secret))
    assert found.method == "sampled"
    assert found.bits == pytest.approx(true_exposure(secret), abs=0.3)


@pytest.mark.parametrize("secret", ["111111222222", "000011112222"])
def test_a_rare_one_is_extrapolated(secret: str) -> None:
    found = exposure(digits_cost, canary("n {}", secret))
    assert found.method == "skew-normal"
    assert found.bits == pytest.approx(true_exposure(secret), rel=0.2)
    assert found.bits > math.log2(10_000 / 10)


def test_nothing_is_beyond_the_first_guess() -> None:
    secret = "123456789"
    known = exposure(
        lambda texts: (0.0 if secret in t else 20.0 for t in texts), canary("n {}", secret)
    )
    assert known.bits == pytest.approx(9 * math.log2(10))
    noise = np.random.default_rng(1)
    known = exposure(
        lambda texts: (0.0 if secret in t else noise.normal(50, 0.1) for t in texts),
        canary("n {}", secret),
    )
    assert known.bits == pytest.approx(9 * math.log2(10))


@pytest.mark.parametrize("skew", [-1, 1])
@pytest.mark.parametrize("distance", [-1.5, 0.3])
def test_the_skew_normal_agrees_with_draws_from_one(skew: int, distance: float) -> None:
    generator = np.random.default_rng(3)
    u, v = np.abs(generator.standard_normal(400_000)), generator.standard_normal(400_000)
    values = skew * 0.9 * u + math.sqrt(1 - 0.81) * v  # Azzalini 1985: skew-normal of delta 0.9
    x = values.mean() + distance * values.std()
    share = np.mean(values <= x)
    found = math.exp(canaries._skew_normal_log_cdf(values, float(x)))
    assert found == pytest.approx(share, rel=0.05)


def test_a_model_scores_canaries(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(spread=4.0)
    scorer: canaries.Scorer = lambda texts: (s.nats for s in score_rows(bundle, texts))  # noqa: E731
    bits = sorted(
        exposure(scorer, canary("a secret: {}.", one + two, "abcdef")).bits
        for one in "abcdef"
        for two in "abcdef"
    )
    assert bits == pytest.approx(sorted(math.log2(36 / rank) for rank in range(1, 37)))


@pytest.mark.parametrize(
    ("template", "secret", "alphabet", "problem"),
    [
        ("no hole", "123", "0123456789", "needs {} once"),
        ("{} and {}", "123", "0123456789", "needs {} once"),
        ("{}", "", "0123456789", "1 to 100"),
        ("{}", "aab", "aab", "twice"),
        ("{}", "a", "a", "2 to 200"),
        ("{}", "12x", "0123456789", "not in 'alphabet'"),
    ],
)
def test_a_canary_that_is_none_is_refused(
    template: str, secret: str, alphabet: str, problem: str
) -> None:
    with pytest.raises(InvalidOption, match=problem):
        Canary.parse({"template": template, "secret": secret, "alphabet": alphabet})


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InvalidOption, match="'samples' is 9"):
        exposure(digits_cost, canary("n {}", "123"), samples=9)
