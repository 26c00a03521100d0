"""Names of things: a prefix, then 26 characters that sort by the time they were made.

48 bits of milliseconds and 80 random bits in lower-case base 32 (without i, l, o, u). Within a
process each id is greater than the one before, also when the clock steps back, so lists order
and page by the id alone.
"""

from __future__ import annotations

import secrets
import threading
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ORDINAL_LENGTH = 26
_RANDOM_BITS = 80


class _Sequence:
    """Strictly increasing 128-bit numbers whose upper 48 bits are the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        fresh = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(32)
            return self._last


_SEQUENCE = _Sequence()


def new_id(prefix: str) -> str:
    """A new id such as ``ftjob-01kb…``; never the same twice."""
    number = _SEQUENCE.next()
    digits = [ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return prefix + "".join(digits)


def ordinal(identifier: str) -> str:
    """The part of an id that orders it among ids of any prefix (its last 26 characters)."""
    return identifier[-ORDINAL_LENGTH:]


def made_at(identifier: str) -> float:
    """When an id was made, seconds since 1970."""
    number = 0
    for digit in ordinal(identifier):
        number = number << 5 | ALPHABET.index(digit)
    return (number >> _RANDOM_BITS) / 1000
