from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from tests.unit.conftest import BundleMaker
from textgen.errors import InvalidOption
from textgen.evaluation import canaries
from textgen.evaluation.canaries import CanaryFormat, Exposure, exposure
from textgen.evaluation.scoring import score_rows


def costs(nats: dict[str, float]) -> canaries.Scorer:
    return lambda texts: (nats[text] for text in texts)


def test_exposure_is_that_of_the_rank_among_all() -> None:
    form = CanaryFormat("it is {}!", 2, "ab")
    nats = {"it is aa!": 3.0, "it is ab!": 1.0, "it is ba!": 2.0, "it is bb!": 9.0}
    found = {secret: exposure(costs(nats), form, secret) for secret in form.all()}
    assert found["ab"] == Exposure(2.0, 4, 1.0, "exact")
    assert found["ba"].bits == 1.0
    assert found["aa"].bits == pytest.approx(2 - math.log2(3))
    assert found["bb"].bits == 0.0


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
    found = exposure(digits_cost, CanaryFormat("n {}", 12), secret)
    assert found.method == "sampled"
    assert found.bits == pytest.approx(true_exposure(secret), abs=0.3)


@pytest.mark.parametrize("secret", ["111111222222", "000011112222"])
def test_a_rare_one_is_extrapolated(secret: str) -> None:
    found = exposure(digits_cost, CanaryFormat("n {}", 12), secret)
    assert found.method == "skew-normal"
    assert found.bits == pytest.approx(true_exposure(secret), rel=0.2)
    assert found.bits > math.log2(10_000 / 10)


def test_nothing_is_beyond_the_first_guess() -> None:
    secret = "123456789"
    form = CanaryFormat("n {}", len(secret))
    known = exposure(lambda texts: (0.0 if secret in t else 20.0 for t in texts), form, secret)
    assert known.bits == pytest.approx(math.log2(form.size))
    noise = np.random.default_rng(1)
    known = exposure(
        lambda texts: (0.0 if secret in t else noise.normal(50, 0.1) for t in texts), form, secret
    )
    assert known.bits == pytest.approx(math.log2(form.size))


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
    form = CanaryFormat("a secret: {}.", 2, "abcdef")
    scorer: canaries.Scorer = lambda texts: (s.nats for s in score_rows(bundle, texts))  # noqa: E731
    bits = sorted(exposure(scorer, form, secret).bits for secret in form.all())
    assert bits == pytest.approx(sorted(math.log2(36 / rank) for rank in range(1, 37)))


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("template", lambda: CanaryFormat("no hole", 3)),
        ("template", lambda: CanaryFormat("{} and {}", 3)),
        ("length", lambda: CanaryFormat("{}", 0)),
        ("alphabet", lambda: CanaryFormat("{}", 3, "aab")),
        ("alphabet", lambda: CanaryFormat("{}", 3, "a")),
        ("secret", lambda: CanaryFormat("{}", 3).fill("12")),
        ("secret", lambda: CanaryFormat("{}", 3).fill("12x")),
        ("samples", lambda: exposure(digits_cost, CanaryFormat("n {}", 3), "123", samples=9)),
    ],
)
def test_errors_name_the_field(field: str, make: object) -> None:
    with pytest.raises(InvalidOption, match=f"'{field}' is") as caught:
        make()  # type: ignore[operator]
    assert caught.value.param == field
