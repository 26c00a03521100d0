"""Passages that stand in a text more than once, or in its training part and in what is held out.

A passage is a window of bytes of UTF-8 (so that it holds about as much in any script), known by a
64-bit hash. Of very many only those are kept whose hash has so many zeros at its end: the same
ones in every text, so that two texts can be compared by samples of both (coordinated sampling, as
in the distinct-value sketches of Gibbons 2001). Memory is bounded and one pass enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
OVERLAP_WINDOW = 32  # bytes: six English words, ten Chinese characters
REPEAT_WINDOW = 100  # bytes
_KEPT = 1 << 20  # hashes, 8 MB
_FEWEST = 100  # passages that a share can be told from
_BASE = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 2**64)
_BETWEEN = b"\xff"  # no byte of UTF-8: stands between documents


class Windows:
    """The hashes of all windows of a text that comes in pieces, or of documents."""

    def __init__(self, size: int, *, documents: bool) -> None:
        self._size = size
        self._documents = documents
        self._tail = b""

    def add(self, texts: Iterable[str]) -> Hashes:
        """Those that the further pieces, or documents, complete.

        A document that is shorter than a window is one window.
        """
        if not self._documents:
            data = self._tail + "".join(texts).encode()
            self._tail = data[max(len(data) - self._size + 1, 0) :]
            return window_hashes(data, self._size)
        encoded = [text.encode() for text in texts]
        short = [_short_hash(each) for each in encoded if len(each) < self._size]
        long = _BETWEEN.join(each for each in encoded if len(each) >= self._size)
        return np.concatenate([np.array(short, np.uint64), window_hashes(long, self._size)])


def window_hashes(data: bytes, size: int) -> Hashes:
    """A hash of each ``size`` bytes of ``data`` that stand together within one document."""
    values = np.frombuffer(data, np.uint8)
    count = values.size - size + 1
    if count < 1:
        return np.empty(0, np.uint64)
    # A polynomial of the bytes, from sums over all bytes before: exact, modulo 2^64.
    sums = np.zeros(values.size + 1, np.uint64)
    np.cumsum((values + np.uint64(1)) * _powers(_BASE, values.size), out=sums[1:])
    hashes = (sums[size:] - sums[:count]) * _powers(_INVERSE, count)
    hashes ^= hashes >> np.uint64(32)  # the low bits must depend on all others
    hashes *= np.uint64(0xD6E8FEB86659FD93)
    hashes ^= hashes >> np.uint64(32)
    ends = np.concatenate([[0], np.cumsum(values == _BETWEEN[0])])
    within: Hashes = hashes[ends[size:] == ends[:count]]
    return within


def _powers(base: int, count: int) -> Hashes:
    """base⁰, base¹, … for a text of ``count`` bytes."""
    return _power_table(base, max(1 << (count - 1).bit_length(), 1 << 16))[:count]


@lru_cache(maxsize=4)
def _power_table(base: int, count: int) -> Hashes:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _short_hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class Sample:
    """Those of many hashes that end in the fewest zeros of which there is room for all."""

    def __init__(self, kept: int = _KEPT) -> None:
        self.zeros = 0
        self._kept = kept
        self._parts: list[Hashes] = []
        self._size = 0

    def add(self, hashes: Hashes) -> None:
        """Take further hashes in."""
        self._parts.append(_ending_in(hashes, self.zeros))
        self._size += self._parts[-1].size
        while self._size > self._kept:
            self.zeros += 1
            self._parts = [_ending_in(np.concatenate(self._parts), self.zeros)]
            self._size = self._parts[0].size

    def hashes(self, zeros: int | None = None) -> Hashes:
        """All of them, or those with at least ``zeros``."""
        if not self._parts:
            return np.empty(0, np.uint64)
        return _ending_in(np.concatenate(self._parts), self.zeros if zeros is None else zeros)


class DistinctSample(Sample):
    """The same, each hash once."""

    def add(self, hashes: Hashes) -> None:
        """Take further hashes in; what is there already takes no room."""
        new = distinct(_ending_in(hashes, self.zeros))
        if self._size + new.size > self._kept:
            new = distinct(np.concatenate([*self._parts, new]))
            self._parts, self._size = [], 0
        super().add(new)


def shared(held_out: Sample, training: Sample) -> float | None:
    """The share of the held-out passages that are in the training; None where they are too few."""
    zeros = max(held_out.zeros, training.zeros)
    passages = np.sort(held_out.hashes(zeros))
    if passages.size < _FEWEST:
        return None
    known = np.sort(training.hashes(zeros))
    if known.size == 0:
        return 0.0
    nearest = known[np.minimum(np.searchsorted(known, passages), known.size - 1)]
    return float((nearest == passages).mean())


def repeated(passages: Sample) -> float | None:
    """The share of passages that stood there before; None where they are too few."""
    found = passages.hashes()
    return None if found.size < _FEWEST else 1 - distinct(found).size / found.size


def distinct(hashes: Hashes) -> Hashes:
    """Each once, sorted. (numpy's unique takes a hash table for this, hundreds of times slower.)"""
    ordered = np.sort(hashes)
    new = np.ones(ordered.size, bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]


def _ending_in(hashes: Hashes, zeros: int) -> Hashes:
    return hashes[hashes & np.uint64((1 << zeros) - 1) == 0] if zeros else hashes
