from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import InvalidInput
from textgen.evaluation import memorisation
from textgen.evaluation.memorisation import (
    CorpusIndex,
    Overlap,
    distribution,
    suffix_array,
)

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
    CorpusIndex(["abcd", "efgh", "ij"])
    with pytest.raises(InvalidInput, match="'texts' holds 12 characters or more; at most 10"):
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
