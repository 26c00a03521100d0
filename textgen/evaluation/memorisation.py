"""How much of its training text a model repeats word for word, and how well it knows a secret."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from textgen.errors import InvalidInput, InvalidOption
from textgen.tokenizers.char import code_points

LARGEST_CORPUS = 20_000_000  # characters; 90 to 130 bytes of memory each while the index is made
_SEPARATOR = "\ud800"  # half a surrogate pair: in no text that is let through
_KEY_BITS = 62
_FEWEST_BELOW = 10  # fewer canaries that likely are too few to count

Positions = npt.NDArray[np.int64]
Scorer = Callable[[Iterable[str]], Iterable[float]]  # the nats of each text, in order


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
            size += len(text) + 1
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


@dataclass(frozen=True)
class CanaryFormat:
    """A sentence with a hole, ``{}``, for ``length`` characters drawn from ``alphabet``."""

    template: str
    length: int
    alphabet: str = "0123456789"

    def __post_init__(self) -> None:
        if self.template.count("{}") != 1:
            raise InvalidOption(
                f"'template' is {self.template[:80]!r}; it needs {{}} once, where the secret goes.",
                param="template",
            )
        if self.length < 1:
            raise InvalidOption(
                f"'length' is {self.length}; a secret needs 1 character or more.", param="length"
            )
        if len(set(self.alphabet)) != len(self.alphabet) or len(self.alphabet) < 2:
            raise InvalidOption(
                f"'alphabet' is {self.alphabet[:80]!r}; give 2 or more characters, each once.",
                param="alphabet",
            )

    @property
    def size(self) -> int:
        """How many secrets there are."""
        size: int = len(self.alphabet) ** self.length
        return size

    def fill(self, secret: str) -> str:
        """The sentence with ``secret``, which must be one of this format."""
        if len(secret) != self.length or not set(secret) <= set(self.alphabet):
            raise InvalidOption(
                f"'secret' is {secret[:80]!r}; it must be {self.length} characters of "
                f"{self.alphabet[:80]!r}.",
                param="secret",
            )
        return self.template.replace("{}", secret)

    def all(self) -> Iterator[str]:
        """Every secret."""
        return map("".join, itertools.product(self.alphabet, repeat=self.length))

    def draw(self, generator: np.random.Generator, count: int) -> Iterator[str]:
        """``count`` secrets, each as likely as any other."""
        for _ in range(count):
            places = generator.integers(len(self.alphabet), size=self.length)
            yield "".join(self.alphabet[place] for place in places)


@dataclass(frozen=True, slots=True)
class Exposure:
    """How much sooner than by chance the model would let a secret be guessed."""

    bits: float  # 0: as by chance or worse; log2 of ``size``: the model's first guess
    size: int  # how many secrets the format has
    nats: float  # of the sentence with the secret
    method: Literal["exact", "sampled", "skew-normal"]


def exposure(
    scorer: Scorer, form: CanaryFormat, secret: str, *, samples: int = 10_000, seed: int = 0
) -> Exposure:
    """log2 of the number of secrets, less log2 of the rank of this one (Carlini et al. 2019, 4).

    Exact where the format has at most ``samples`` secrets. Else ``samples`` others are drawn: the
    share that is as likely as this one is counted, or, where fewer than 10 are, taken from a
    skew-normal distribution with the mean, variance and skewness of the drawn ones' nats; such
    a value is an extrapolation, at most log2 of the number of secrets.
    """
    if samples < 100:
        raise InvalidOption(
            f"'samples' is {samples}; 100 or more are needed to see a distribution.",
            param="samples",
        )
    sentence = form.fill(secret)
    most = form.length * math.log2(len(form.alphabet))
    if form.size <= samples:
        # Its nats come from the same pass as the others', so that rounding cannot part equals.
        nats = np.fromiter(scorer(map(form.fill, form.all())), np.float64, form.size)
        own = float(nats[next(i for i, other in enumerate(form.all()) if other == secret)])
        rank = 1 + int(np.count_nonzero(nats < own))
        return Exposure(most - math.log2(rank), form.size, own, "exact")
    drawn = form.draw(np.random.default_rng(seed), samples)
    scored = np.fromiter(
        scorer(itertools.chain([sentence], map(form.fill, drawn))), np.float64, samples + 1
    )
    own, nats = float(scored[0]), scored[1:]
    below = int(np.count_nonzero(nats <= own))
    if below >= _FEWEST_BELOW:
        return Exposure(-math.log2(below / samples), form.size, own, "sampled")
    bits = -_skew_normal_log_cdf(nats, own) / math.log(2)
    return Exposure(min(bits, most), form.size, own, "skew-normal")


def _skew_normal_log_cdf(values: npt.NDArray[np.float64], x: float) -> float:
    """Log of the chance of at most ``x`` under the skew-normal of the moments of ``values``."""
    mean, deviation = float(values.mean()), float(values.std())
    if deviation == 0:
        return -math.inf if x < mean else 0.0
    skew = float((((values - mean) / deviation) ** 3).mean())
    power = min(abs(skew), 0.99) ** (2 / 3)  # no skew-normal has a skewness of 1 (Azzalini 1985)
    delta = math.copysign(
        math.sqrt(math.pi / 2 * power / (power + ((4 - math.pi) / 2) ** (2 / 3))), skew
    )
    shape = delta / math.sqrt(1 - delta**2)
    scale = deviation / math.sqrt(1 - 2 * delta**2 / math.pi)
    z = (x - mean) / scale + delta * math.sqrt(2 / math.pi)
    # The integral of the density from far below to z, in logarithms: far out it is below any float.
    steps = torch.logspace(-9, 2, 4001, dtype=torch.float64)
    steps = torch.cat([torch.zeros(1, dtype=torch.float64), steps])
    at = z - steps
    density = (
        math.log(2) - at**2 / 2 - math.log(2 * math.pi) / 2 + torch.special.log_ndtr(shape * at)
    )
    areas = torch.logaddexp(density[1:], density[:-1]) + torch.log(steps.diff() / 2)
    return min(torch.logsumexp(areas, 0).item(), 0.0)


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
