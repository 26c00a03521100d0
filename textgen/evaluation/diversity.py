"""How varied samples are: n-grams of characters, words or token ids, whatever the samples hold."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from textgen.errors import InvalidInput, InvalidOption

Sample = Sequence[Hashable]  # a text is one of characters


def distinct(samples: Iterable[Sample], n: int) -> float:
    """Distinct n-grams of all samples over all their n-grams (Li et al. 2016, distinct-n).

    From above 0 to 1; it falls as samples get longer or more, so compare equal amounts.
    InvalidInput where no sample is as long as ``n``.
    """
    seen: set[Hashable] = set()
    total = 0
    for sample in samples:
        for gram in _grams(sample, n):
            seen.add(gram)
            total += 1
    return len(seen) / _some(total, n)


def repetition(samples: Iterable[Sample], n: int) -> float:
    """The share of n-grams that stood in the same sample before, over all samples together.

    From 0 to below 1. InvalidInput where no sample is as long as ``n``.
    """
    repeated = total = 0
    for sample in samples:
        seen = set(_grams(sample, n))
        count = max(len(sample) - n + 1, 0)
        repeated += count - len(seen)
        total += count
    return repeated / _some(total, n)


def _grams(sample: Sample, n: int) -> Iterator[Hashable]:
    if n < 1:
        raise InvalidOption(f"'n' is {n}; it must be 1 or more.", param="n")
    parts = (sample[start : start + n] for start in range(len(sample) - n + 1))
    return parts if isinstance(sample, str) else map(tuple, parts)  # parts of texts are small


def _some(total: int, n: int) -> int:
    if total == 0:
        raise InvalidInput(
            f"'samples' has none of {n} or more symbols; give longer ones, or a smaller 'n'.",
            param="samples",
        )
    return total
