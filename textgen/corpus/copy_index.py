"""Which passages a training text has, in 16 bits a character, without the text itself.

A Bloom filter (Bloom 1970) of the hashes of all passages of one length: what the text has is always
found, and of what it has not 6 in 10,000 are. The hash is a polynomial over code points modulo
2⁶⁴, so that a text that grows by a character has that of its last passage in a few operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from textgen.tokenizers import Ids, Tokenizer

Words = npt.NDArray[np.uint64]
Bits = npt.NDArray[np.uint8]
BASE = 0xD6E8FEB86659FD93  # odd, so that it has an inverse
MASK = 2**64 - 1
LARGEST_TEXT = 1 << 26  # characters; their index has 128 MiB
_BITS = 16  # of the filter for each passage
_HASHES = 8
_CHUNK = 1 << 20
_INVERSE = pow(BASE, -1, 2**64)
_SEPARATOR = "\U0010ffff"  # no character, and never will be: no text has a passage with it


class CopyIndex:
    """The passages of ``window`` characters of one or several texts, a filter each."""

    def __init__(self, window: int, filters: Sequence[Bits]) -> None:
        self.window = window
        self.filters = tuple(filters)

    def has(self, hashes: Words) -> npt.NDArray[np.bool_]:
        """Whether a text has the passages of these hashes (N,), made by `passage_hashes`."""
        found = np.zeros(len(hashes), np.bool_)
        for bits in self.filters:
            found |= _look_up(bits, hashes)
        return found


def build(texts: Iterable[str], window: int, characters: int) -> Bits:
    """The filter for one text that comes in pieces, of about ``characters``."""
    bits = np.zeros(max(characters, 1) * _BITS // 8 + 8, np.uint8)
    before = ""
    for text in texts:
        before += text
        points = np.frombuffer(before.encode("utf-32-le"), "<u4")
        for places in _places(passage_hashes(points, window), len(bits)):
            for bit in range(8):  # within one bit it does not matter that places repeat
                bits[places[(places & np.uint64(7)) == bit] >> np.uint64(3)] |= np.uint8(1 << bit)
        before = before[len(before) - min(window - 1, len(before)) :]
    return bits


def passage_hashes(points: npt.NDArray[np.uint32], window: int) -> Words:
    """The hashes of all passages of ``window`` of these code points (N,): (N - window + 1,)."""
    count = len(points) - window + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    powers, inverses = _powers(len(points))
    sums = np.zeros(len(points) + 1, np.uint64)
    np.cumsum((points.astype(np.uint64) + np.uint64(1)) * inverses, out=sums[1:])
    hashes: Words = (sums[window:] - sums[:-window]) * powers[window - 1 :]
    return hashes


def training_texts(tokenizer: Tokenizer, ids: Ids) -> Iterator[str]:
    """The text of ``ids`` in pieces, a character that is in no text where documents meet."""
    pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    for token in tokenizer.special_ids.values():
        if token != tokenizer.unknown_id:
            pieces[token] = _SEPARATOR.encode()
    rest = b""
    for first in range(0, len(ids), _CHUNK):
        raw = rest + b"".join(map(pieces.__getitem__, ids[first : first + _CHUNK].tolist()))
        end = len(raw) - _cut_off(raw)
        yield raw[:end].decode("utf-8", "replace")
        rest = raw[end:]


def _cut_off(raw: bytes) -> int:
    """How many bytes at the end begin a character that does not end there."""
    for length in range(1, min(4, len(raw)) + 1):
        lead = raw[-length]
        if lead >= 0xC0:
            return length if length < (2 if lead < 0xE0 else 3 if lead < 0xF0 else 4) else 0
        if lead < 0x80:
            return 0
    return 0


def _places(hashes: Words, size: int) -> Iterator[Words]:
    """The places of bits of each hash, one after the other, in a filter of ``size`` bytes."""
    count = np.uint64(size * 8)
    mixed = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    step = (mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(20) | np.uint64(1)
    for number in range(_HASHES):
        yield (mixed + np.uint64(number) * step) % count


def _look_up(bits: Bits, hashes: Words) -> npt.NDArray[np.bool_]:
    left = np.arange(len(hashes))  # those that may still be there
    for places in _places(hashes, len(bits)):
        mine = places[left]
        one = (bits[mine >> np.uint64(3)] >> (mine & np.uint64(7)).astype(np.uint8)) & np.uint8(1)
        left = left[one.astype(np.bool_)]
        if left.size == 0:
            break
    found = np.zeros(len(hashes), np.bool_)
    found[left] = True
    return found


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[Words, Words]:
    """The powers of the base and of its inverse, from the 0th (count,)."""
    both = []
    for base in (BASE, _INVERSE):
        factors = np.full(count, base, np.uint64)
        factors[0] = 1
        both.append(np.cumprod(factors, dtype=np.uint64))
    return both[0], both[1]
