from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.conftest import BundleMaker
from textgen.errors import InvalidInput, InvalidOption
from textgen.evaluation import memorisation
from textgen.evaluation.memorisation import (
    CanaryFormat,
    CorpusIndex,
    Exposure,
    Overlap,
    distribution,
    exposure,
    suffix_array,
)
from textgen.evaluation.scoring import score_rows

TEXTS = st.one_of(st.text("ab", max_size=60), st.text("ab我\U0001f600", max_size=40))


@given(st.one_of(TEXTS, st.builds(lambda part, times: part * times, TEXTS, st.integers(1, 5))))
def test_a_suffix_array_has_the_suffixes_in_order(text: str) -> None:
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    assert suffix_array(points).tolist() == sorted(range(len(text)), key=lambda i: text[i:])


def test_suffixes_that_are_equal_for_long_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    points = np.concatenate([np.tile(generator.integers(0, 9, 300), 3), np.zeros(400, int)])
    text = "".join(map(chr, points))
    found = suffix_array(points.astype(np.uint32))
    assert found.tolist() == sorted(range(len(text)), key=lambda i: text[i:])


@given(st.lists(TEXTS, max_size=4), TEXTS)
def test_the_overlap_is_the_longest_there_is_within_one_text(texts: list[str], sample: str) -> None:
    parts = (
        sample[start:end]
        for start in range(len(sample))
        for end in range(start, len(sample) + 1)
        if any(sample[start:end] in text for text in texts)
    )
    longest = max(map(len, parts), default=0)
    found = CorpusIndex(texts).longest_overlap(sample)
    assert found.characters == longest
    assert found.text == sample[found.sample_start :][:longest]
    assert found.text == "" or any(found.text in text for text in texts)
    assert found.share == (longest / len(sample) if sample else 0)


def test_the_first_of_equally_long_parts_is_given() -> None:
    found = CorpusIndex(["one two", "three"]).longest_overlap("xxtwoxxone")
    assert (found.text, found.sample_start) == ("two", 2)


def test_a_corpus_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "LARGEST_CORPUS", 10)
    CorpusIndex(["abcd", "efgh"])
    with pytest.raises(InvalidInput, match="'texts' holds 15 characters or more; at most 10"):
        CorpusIndex(["abcd", "efgh", "ijkl"])


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        CorpusIndex(["a\ud800"])
    with pytest.raises(InvalidInput, match="surrogate"):
        CorpusIndex(["a", "b"]).longest_overlap("a\ud800b")


def test_the_distribution_is_of_lengths() -> None:
    overlaps = [Overlap("x" * length, 0, 100) for length in range(101)]
    found = distribution(overlaps)
    assert (found.samples, found.mean, found.median) == (101, 50, 50)
    assert (found.percentile_90, found.percentile_99) == (90, 99)
    assert found.longest is overlaps[100]
    with pytest.raises(InvalidInput, match="'overlaps' is empty"):
        distribution([])


def costs(nats: dict[str, float]) -> memorisation.Scorer:
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
    found = math.exp(memorisation._skew_normal_log_cdf(values, float(x)))
    assert found == pytest.approx(share, rel=0.05)


def test_a_model_scores_canaries(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(spread=4.0)
    form = CanaryFormat("a secret: {}.", 2, "abcdef")
    scorer: memorisation.Scorer = lambda texts: (s.nats for s in score_rows(bundle, texts))  # noqa: E731
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
