from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import InvalidInput, InvalidOption
from textgen.evaluation.diversity import distinct, repetition

SAMPLES = st.lists(st.text("abc", min_size=3, max_size=30), min_size=1, max_size=6)


def grams(sample: str, n: int) -> list[str]:
    return [sample[i : i + n] for i in range(len(sample) - n + 1)]


@given(SAMPLES, st.integers(1, 3))
def test_both_agree_with_lists_of_n_grams(samples: list[str], n: int) -> None:
    every = [gram for sample in samples for gram in grams(sample, n)]
    before = [
        gram in grams(sample, n)[:place]
        for sample in samples
        for place, gram in enumerate(grams(sample, n))
    ]
    assert distinct(samples, n) == pytest.approx(len(set(every)) / len(every))
    assert repetition(iter(samples), n) == pytest.approx(sum(before) / len(before))


def test_words_and_ids_do_as_well_as_characters() -> None:
    assert distinct([["a", "b", "a", "b"], ["a", "b"]], 2) == pytest.approx(2 / 4)
    assert repetition([[1, 2, 1, 2, 1]], 2) == pytest.approx(2 / 4)


def test_repetition_is_within_one_sample() -> None:
    assert repetition(["abc", "abc"], 1) == 0.0
    assert distinct(["abc", "abc"], 1) == 0.5


@pytest.mark.parametrize("measure", [distinct, repetition])
def test_nothing_to_count_is_an_error(measure: type[float]) -> None:
    with pytest.raises(InvalidInput, match="'samples' has none of 4 or more"):
        measure(["abc", ""], 4)  # type: ignore[call-arg]
    with pytest.raises(InvalidOption, match="'n' is 0"):
        measure(["abc"], 0)  # type: ignore[call-arg]
