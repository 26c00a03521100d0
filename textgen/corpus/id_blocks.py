"""What is found in ids block by block, so that no array as long as a text is made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from textgen.tokenizers import Ids

_BLOCK = 1 << 20  # ids looked at together


def places_of(token: int, ids: Ids) -> npt.NDArray[np.int64]:
    """Where ``token`` stands in ``ids``."""
    found = [np.flatnonzero(block == token) + first for first, block in _blocks(ids)]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def counts_of(ids: Ids, size: int) -> npt.NDArray[np.int64]:
    """How often each id below ``size`` comes (size,)."""
    counts = np.zeros(size, np.int64)
    for _, block in _blocks(ids):
        counts += np.bincount(block, minlength=size)
    return counts


def _blocks(ids: Ids) -> Iterator[tuple[int, Ids]]:
    """Each with the place of its first id."""
    for first in range(0, ids.size, _BLOCK):
        yield first, ids[first : first + _BLOCK]
