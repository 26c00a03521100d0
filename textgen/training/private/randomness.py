"""Randomness that nobody can guess or replay: which documents a step draws, and its noise.

All of it follows from a secret key and the step, so that a training can stop and go on with the
very noise that it would have had. The key comes from the operating system and is stretched by
SHAKE-256 (FIPS 202). It lies in the checkpoints alone: with it the noise could be taken away again.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

KEY_BYTES = 32
_CHANCES = 2**32


@dataclass(frozen=True, slots=True)
class SecretRandomness:
    """The same for the same key; its ``repr`` keeps the key back."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES), repr=False)

    def draw(self, step: int, count: int, rate: float) -> npt.NDArray[np.int64]:
        """Which of ``count`` documents are in a step, each by itself with the chance ``rate``.

        A rate is rounded down to a multiple of 2^-32: less is drawn than is accounted for.
        """
        chances = np.frombuffer(self._stream("documents", step, 4 * count), "<u4")
        return np.flatnonzero(chances < int(rate * _CHANCES)).astype(np.int64)

    def noise(self, step: int, count: int) -> Tensor:
        """``count`` independent standard normal numbers, float64.

        By inverting the normal distribution at numbers of 53 random bits.
        """
        bits = np.frombuffer(self._stream("noise", step, 8 * count), "<u8") >> np.uint64(11)
        uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53
        normal: Tensor = torch.special.ndtri(torch.from_numpy(uniform))
        return normal

    def _stream(self, purpose: str, step: int, length: int) -> bytes:
        """``purpose`` keeps the streams apart; the key has a fixed length, and so has the step."""
        name = self.key + step.to_bytes(8, "big") + purpose.encode()
        return hashlib.shake_256(name).digest(length)
