"""Prompts are read many tokens at a time, several prompts together.

Layer by layer: a further layer's input part for all T tokens is one matrix product, then only the
hidden part goes step by step. The bits are those of T single steps, so how a prompt is cut, and
what is read beside it, cannot be seen in its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

CHUNK = 32  # tokens; a chunk's time is what other requests may have to wait in one step
PROMPTS = 16  # that are read together


class ReadChunk(NamedTuple):
    """A state (2, L, H) after a chunk, and the sum (L, H) of the states h on the way to it."""

    state: Tensor
    sum: Tensor | None = None  # where it was asked for


class PromptReader(Protocol):
    """Reads up to ``PROMPTS`` chunks of up to ``CHUNK`` tokens of one model."""

    def read(
        self,
        chunks: Sequence[npt.NDArray[np.int64]],
        states: Sequence[Tensor | None],
        *,
        sums: bool = False,
    ) -> list[ReadChunk]:
        """Advance each state (2, L, H; None for zeros) by its chunk of 1 … CHUNK tokens.

        At most PROMPTS chunks; what was read comes back in their order, with ``sums`` too.
        """


def longest_first(chunks: Sequence[npt.NDArray[np.int64]]) -> list[int]:
    """The places of the chunks by their length, so that those still under way are the first."""
    return sorted(range(len(chunks)), key=lambda index: -len(chunks[index]))
