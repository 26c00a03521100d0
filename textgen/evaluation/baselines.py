"""What a model must beat: Kneser-Ney 5-grams and PPM, over the characters of the same texts.

Both learn from the training texts and stay as they are while they predict: PPM, which is adaptive
by nature, is frozen on what it is measured on. The alphabet is that of the training texts and
one unknown symbol, as the char tokenizer has it: every other character costs what that costs.
Documents are read as a model reads them: after a boundary, which also ends each.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidCorpus, InvalidOption
from textgen.tokenizers.char import code_points

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_LONGEST = 12  # characters of an n-gram; the memory grows with each
_BOUNDARY = 0x110000  # of documents; no character has this code point


@dataclass(frozen=True)
class _Level:
    """The n-grams of one length, which are numbered in the order of ``keys``.

    An n-gram's context is the (n - 1)-gram without its last symbol, its suffix that without its
    first. A shorter n-gram counts once for each symbol that stood before it and once for each text
    it began, one of the greatest length as often as it came. That is Kneser and Ney's count, and
    also what PPM with update exclusion arrives at: it counts a symbol in a context only when it
    was new in the next longer one.
    """

    keys: Ints  # context · symbols + last symbol, ascending
    contexts: Ints  # (n-grams,)
    suffixes: Ints  # (n-grams,)
    counts: Ints  # (n-grams,)
    shorter: int  # how many (n - 1)-grams there are, of which each may be a context

    def sums(self, values: npt.NDArray[np.number[Any]] | None = None) -> Floats:
        """The sum (shorter,) over each context's n-grams of ``values`` (n-grams,), or of ones."""
        return np.bincount(self.contexts, values, self.shorter).astype(np.float64)

    def find(self, contexts: Ints, symbols: Ints, size: int) -> Ints:
        """The n-grams of these contexts and last symbols; -1 where there is none."""
        keys = contexts * size + symbols
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where((contexts >= 0) & (self.keys[places] == keys), places, -1)


class CharacterModel(ABC):
    """Chances of each next character from the few before it; immutable once learnt."""

    def __init__(self, alphabet: npt.NDArray[np.uint32], levels: tuple[_Level, ...]) -> None:
        self._alphabet = alphabet
        self._levels = levels
        self._totals = [level.sums(level.counts) for level in levels]  # (contexts,) each
        self.size = len(alphabet) + 1  # symbols, with the unknown one, which is the last
        self._documents = bool(alphabet[-1] == _BOUNDARY)

    @classmethod
    def _learn(cls, texts: Iterable[str], length: int, documents: bool) -> Self:
        pieces = [code_points(text) for text in texts]
        alphabet = np.unique(np.concatenate([np.empty(0, "<u4"), *pieces]))
        if len(alphabet) == 0:
            raise InvalidCorpus(
                "'texts' holds no character to learn from; give 1 or more.",
                code="corpus_too_small",
                param="texts",
            )
        if documents:
            alphabet = np.append(alphabet, np.uint32(_BOUNDARY))
            pieces = [_bounded(piece, _BOUNDARY) for piece in pieces]
        gap = np.full(1, -1, np.int64)  # between texts: no n-gram crosses it
        symbols = np.concatenate(
            [part for piece in pieces for part in (np.searchsorted(alphabet, piece), gap)]
        )
        return cls(alphabet, _count(symbols, len(alphabet) + 1, length))

    def nats(self, text: str) -> Floats:
        """What each character of ``text`` costs, (N,), and of a document its end, (N + 1,).

        The first is predicted from nothing, or from the boundary before a document.
        """
        symbols = self._symbols(code_points(text))
        if not self._documents:
            return -np.log(self._chances(self._ids(symbols), symbols))
        bounded = _bounded(symbols, len(self._alphabet) - 1)
        return -np.log(self._chances(self._ids(bounded), bounded))[1:]

    def nats_per_character(self, texts: Iterable[str], *, ends: bool = False) -> float:
        """The mean over all characters of held-out ``texts``, each read from its beginning.

        With ``ends`` the end of a document counts as a character. InvalidCorpus where there are
        none.
        """
        total, count = 0.0, 0
        for text in texts:
            length = len(text) + (ends and self._documents)
            total += float(self.nats(text)[:length].sum())
            count += length
        if count == 0:
            raise InvalidCorpus(
                "'texts' holds no character to predict; give 1 or more.",
                code="corpus_too_small",
                param="texts",
            )
        return total / count

    def distribution(self, context: str) -> Floats:
        """The chances (size,) of what may follow ``context``: by code point, the unknown last."""
        every = np.arange(self.size)
        read = self._symbols(code_points(context))
        if self._documents:
            read = np.append(len(self._alphabet) - 1, read)
        read = read[-len(self._levels) :]
        contexts = [ids[-1:].repeat(self.size) for ids in self._ids(np.append(read, 0))]
        return self._chances(contexts, every)

    @abstractmethod
    def _chances(self, contexts: list[Ints], symbols: Ints) -> Floats:
        """Of ``symbols`` (N,), ``contexts[n]`` (N,) being the n-grams before them, -1 for none."""

    def _symbols(self, points: npt.NDArray[np.uint32]) -> Ints:
        places = np.minimum(np.searchsorted(self._alphabet, points), len(self._alphabet) - 1)
        return np.where(self._alphabet[places] == points, places, len(self._alphabet))

    def _ids(self, symbols: Ints) -> list[Ints]:
        """The n-grams right before each symbol, for n from 0 to one less than the levels."""
        contexts = [np.zeros(len(symbols), np.int64)]
        for level in self._levels[:-1]:
            found = level.find(contexts[-1], symbols, self.size)
            contexts.append(np.append(-1, found[:-1])[: len(symbols)])
        return contexts


class KneserNey(CharacterModel):
    """Interpolated modified Kneser-Ney (Chen and Goodman 1999).

    Each length of n-grams has discounts for counts of 1, 2 and 3 or more, estimated from how
    many n-grams were counted 1 to 4 times; one half where those leave none to estimate from, as
    is usual among single characters. The shortest are interpolated with even chances.
    """

    @classmethod
    def learn(cls, texts: Iterable[str], *, order: int = 5, documents: bool = False) -> Self:
        """From n-grams of up to ``order`` characters; InvalidCorpus where there is no text."""
        _check(order, 1)
        return cls._learn(texts, order, documents)

    def __init__(self, alphabet: npt.NDArray[np.uint32], levels: tuple[_Level, ...]) -> None:
        super().__init__(alphabet, levels)
        self._discounts = [_discounts(level.counts) for level in levels]
        self._left = [  # (contexts,): the mass that the discounts take from each context
            level.sums(discounts[np.minimum(level.counts, 3)])
            for level, discounts in zip(levels, self._discounts, strict=True)
        ]

    def _chances(self, contexts: list[Ints], symbols: Ints) -> Floats:
        chances = np.full(len(symbols), 1 / self.size)
        for level, totals, discounts, left, context in zip(
            self._levels, self._totals, self._discounts, self._left, contexts, strict=True
        ):
            found = level.find(context, symbols, self.size)
            count = np.where(found >= 0, level.counts[found], 0)
            total = np.where(context >= 0, totals[context], 0)
            own = count - discounts[np.minimum(count, 3)]
            mixed = (own + left[context] * chances) / np.maximum(total, 1)
            chances = np.where(total > 0, mixed, chances)
        return chances


class Ppm(CharacterModel):
    """Prediction by partial matching (Cleary and Witten 1984), method D (Howard 1993).

    A symbol counted c times in a context with u distinct symbols and counts of n in all has the
    chance (c - 1/2) / n, and the escape to the next shorter context u / 2n; symbols of the
    longer contexts are excluded from the shorter ones. Behind the empty context all symbols that
    are left are equally likely.
    """

    @classmethod
    def learn(cls, texts: Iterable[str], *, order: int = 5, documents: bool = False) -> Self:
        """With contexts of up to ``order`` characters; InvalidCorpus where there is no text."""
        _check(order, 0)
        return cls._learn(texts, order + 1, documents)

    def __init__(self, alphabet: npt.NDArray[np.uint32], levels: tuple[_Level, ...]) -> None:
        super().__init__(alphabet, levels)
        self._distinct = [level.sums() for level in levels]  # symbols that came after each context
        self._excluded = [  # (contexts,): what those count in the next shorter context
            longer.sums(shorter.counts[longer.suffixes])
            for shorter, longer in itertools.pairwise(levels)
        ]

    def _chances(self, contexts: list[Ints], symbols: Ints) -> Floats:
        size = len(symbols)
        chances, escaped = np.zeros(size), np.ones(size)
        gone_counts, gone_symbols = np.zeros(size), np.zeros(size)  # excluded so far
        searching = np.ones(size, bool)
        for n in reversed(range(len(self._levels))):
            level, context = self._levels[n], contexts[n]
            total = np.where(context >= 0, self._totals[n][context], 0)
            distinct = np.where(context >= 0, self._distinct[n][context], 0)
            found = level.find(context, symbols, self.size)
            count = np.where(found >= 0, level.counts[found], 0)
            # Where a longer context came with a symbol, so did this one: these are subsets.
            remaining = total - gone_counts
            some = remaining > 0
            here = searching & (found >= 0)
            divisor = np.where(some, remaining, 1.0)
            chances = np.where(here, escaped * (count - 0.5) / divisor, chances)
            searching &= found < 0
            escape = (distinct - gone_symbols) / (2 * divisor)
            escaped = np.where(some, escaped * escape, escaped)
            gone_symbols = distinct
            if n:
                gone_counts = np.where(context >= 0, self._excluded[n - 1][context], 0.0)
        return np.where(searching, escaped / (self.size - gone_symbols), chances)


def _bounded(piece: npt.NDArray[Any], boundary: int) -> npt.NDArray[Any]:
    """A document between two boundaries."""
    return np.concatenate([[boundary], piece, [boundary]]).astype(piece.dtype)


def _check(order: int, least: int) -> None:
    if not least <= order < _LONGEST:
        raise InvalidOption(
            f"'order' is {order}; it must be {least} to {_LONGEST - 1}.", param="order"
        )


def _count(symbols: Ints, size: int, length: int) -> tuple[_Level, ...]:
    """The n-grams of ``symbols`` (N,) of 1 to ``length``; -1 stands between texts."""
    ids = np.zeros(len(symbols), np.int64)  # of the n-gram that ends at each place, -1 for none
    levels: list[_Level] = []
    known = 1  # n-grams of the length before
    for n in range(1, length + 1):
        before = np.append(-1 if n > 1 else 0, ids[:-1])
        places = np.flatnonzero((before >= 0) & (symbols >= 0))
        keys, first, inverse, counts = np.unique(
            before[places] * size + symbols[places],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        if len(keys) == 0:
            break  # no text is so long
        suffixes = ids[places[first]]
        longer = np.full(len(symbols), -1, np.int64)
        longer[places] = inverse
        if levels:
            began = ids[(ids >= 0) & (longer < 0)]  # nothing stood before them
            lower = np.bincount(suffixes, minlength=known) + np.bincount(began, minlength=known)
            levels[-1] = replace(levels[-1], counts=lower)
        levels.append(_Level(keys, keys // size, suffixes, counts, known))
        ids, known = longer, len(keys)
    return tuple(levels)


def _discounts(counts: Ints) -> Floats:
    """What is taken from counts of 0, 1, 2 and 3 or more (Chen and Goodman 1999, equation 17)."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)
    discounts = np.array([0.0, 0.5, 0.5, 0.5])
    for count in (1, 2, 3):
        if n[1] and n[count]:
            share = n[1] / (n[1] + 2 * n[2])
            found = count - (count + 1) * share * n[count + 1] / n[count]
            if 0 < found <= count:
                discounts[count] = found
    return discounts
