"""How much of its training text a model repeats word for word."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidInput
from textgen.tokenizers.char import code_points

LARGEST_CORPUS = 20_000_000  # characters; 90 to 130 bytes of memory each while the index is made
_SEPARATOR = "\ud800"  # half a surrogate pair: in no text that is let through
_KEY_BITS = 62

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """The longest part of a sample that stands in the corpus as it is."""

    text: str
    sample_start: int  # offset in the sample, in characters; the first of equally long parts
    sample_characters: int

    @property
    def characters(self) -> int:
        """How long it is."""
        return len(self.text)

    @property
    def share(self) -> float:
        """Of the sample; 0 for an empty one."""
        return self.characters / self.sample_characters if self.sample_characters else 0.0


@dataclass(frozen=True, slots=True)
class OverlapDistribution:
    """Of the longest overlaps of several samples, in characters."""

    samples: int
    mean: float
    median: float
    percentile_90: float
    percentile_99: float
    longest: Overlap


class CorpusIndex:
    """A suffix array of the training texts (Manber and Myers 1993), to look samples up in.

    No overlap crosses from one text to the next. InvalidInput where there are more than
    ``LARGEST_CORPUS`` characters, or half a surrogate pair.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        documents: list[str] = []
        size = 0
        for text in texts:
            code_points(text)  # refuses half a surrogate pair
            documents.append(text)
            size += len(text)
            if size > LARGEST_CORPUS:
                raise InvalidInput(
                    f"'texts' holds {size} characters or more; at most {LARGEST_CORPUS} can be "
                    "indexed. Give a part of the corpus.",
                    code="corpus_too_large",
                    param="texts",
                )
        self._text = _SEPARATOR.join(documents)
        points = np.frombuffer(self._text.encode("utf-32-le", "surrogatepass"), "<u4")
        self._suffixes = suffix_array(points)

    def longest_overlap(self, sample: str) -> Overlap:
        """The longest part of ``sample`` that is in the corpus, which may be empty."""
        code_points(sample)
        start = best = 0
        for place in range(len(sample)):
            if place + best >= len(sample):
                break
            if sample[place : place + best + 1] not in self:
                continue
            start, best = place, self._match(sample[place:])
        return Overlap(sample[start : start + best], start, len(sample))

    def __contains__(self, part: str) -> bool:
        where = self._insertion(part)
        return where < len(self._suffixes) and self._at(where, len(part)) == part

    def _insertion(self, part: str) -> int:
        """The rank of the first suffix that is not before ``part``."""
        ranks = range(len(self._suffixes))
        return bisect_left(ranks, part, key=lambda rank: self._at(rank, len(part)))

    def _at(self, rank: int, length: int) -> str:
        start = int(self._suffixes[rank])
        return self._text[start : start + length]

    def _match(self, part: str) -> int:
        """How many characters of ``part``, from its first, are somewhere in the corpus."""
        where = self._insertion(part)
        neighbours = [rank for rank in (where - 1, where) if 0 <= rank < len(self._suffixes)]
        return max(_common_prefix(part, self._at(rank, len(part))) for rank in neighbours)


def distribution(overlaps: Sequence[Overlap]) -> OverlapDistribution:
    """The mean, the percentiles and the longest of ``overlaps``; InvalidInput where empty."""
    if not overlaps:
        raise InvalidInput(
            "'overlaps' is empty; give those of at least 1 sample.", param="overlaps"
        )
    lengths = np.array([overlap.characters for overlap in overlaps])
    median, high, highest = np.percentile(lengths, [50, 90, 99]).tolist()
    longest = overlaps[int(lengths.argmax())]
    return OverlapDistribution(len(overlaps), float(lengths.mean()), median, high, highest, longest)


def suffix_array(points: npt.NDArray[np.uint32]) -> Positions:
    """The starts (N,) of all suffixes of ``points`` (N,), in their order.

    By prefix doubling: a round sorts twice as many symbols as the one before, and only those
    suffixes that are still equal to another. The first takes as many symbols as fit in 62 bits.
    """
    count = len(points)
    if count == 0:
        return np.empty(0, np.int64)
    alphabet = np.unique(points)
    symbols = np.searchsorted(alphabet, points) + 1  # 0 stands behind the end
    bits = len(alphabet).bit_length()
    width = _KEY_BITS // bits  # symbols in a key
    keys = np.zeros(count, np.int64)
    for offset in range(width):
        keys <<= bits
        keys[: max(count - offset, 0)] |= symbols[offset:]
    order = np.argsort(keys, kind="stable").astype(np.int64)
    ordered = keys[order]
    first = np.append(True, ordered[1:] != ordered[:-1])  # of a group of equal ones
    ranks = np.empty(count, np.int64)  # of each suffix: the place of the first equal to it
    ranks[order] = np.maximum.accumulate(np.where(first, np.arange(count), 0))
    unsorted = np.flatnonzero(~(first & np.append(first[1:], True)))  # places, of equal ones
    while len(unsorted):
        starts = order[unsorted]
        group = ranks[starts]
        after = starts + width
        behind = np.where(after < count, ranks[np.minimum(after, count - 1)], -1)
        inner = np.lexsort((behind, group))
        starts, group, behind = starts[inner], group[inner], behind[inner]
        order[unsorted] = starts
        first = np.ones(len(starts), bool)
        first[1:] = (group[1:] != group[:-1]) | (behind[1:] != behind[:-1])
        heads = unsorted[np.maximum.accumulate(np.where(first, np.arange(len(starts)), 0))]
        ranks[starts] = heads
        unsorted = unsorted[~(first & np.append(first[1:], True))]
        width *= 2
    return order


def _common_prefix(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(i for i in range(shorter) if one[i] != other[i])
