"""Random numbers that are a function of (seed, choice, position), not of what was drawn before.

So a token's chance does not depend on other requests, on the process or on the machine. The
generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
2014): its n-th output is a mix of key + n·γ, which can be had at any n.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB

Words = npt.NDArray[np.uint64]


def stream_key(seed: int, choice: int) -> int:
    """The 64-bit key of one choice's stream; any whole ``seed`` will do, modulo 2⁶⁴."""
    return _mix(_mix(seed + _GAMMA) + choice * _GAMMA)


def uniform(keys: Words, positions: Words) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each pair, a multiple of 2⁻⁴⁸.

    With five bits to spare in a float64, its product with any x > 0 stays below x.
    """
    words = keys + (positions + np.uint64(1)) * np.uint64(_GAMMA)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_FIRST)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_SECOND)
    words ^= words >> np.uint64(31)
    numbers: npt.NDArray[np.float64] = (words >> np.uint64(16)) * 2.0**-48
    return numbers


def _mix(value: int) -> int:
    word = value & _MASK
    word = (word ^ (word >> 30)) * _FIRST & _MASK
    word = (word ^ (word >> 27)) * _SECOND & _MASK
    return word ^ (word >> 31)
