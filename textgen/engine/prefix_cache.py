"""States of prompts that were read before, found by the hash of their tokens.

A state is kept at fixed positions alone, multiples of CHUNK tokens from where reading begins, so a
prompt is cut the same way whether a part of it is known or not, and its text has the same bits.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from textgen.engine.prompt_reader import CHUNK

KEEP_EVERY = 8 * CHUNK  # tokens between two states that are kept of one prompt, beside its last
_ENTRY_BYTES = 400  # of a state's bookkeeping: tensor, key and their place in the table
_DIGEST_BYTES = 16


class PrefixCache:
    """States by key, at most ``bound`` bytes of them; the least recently used leaves. 0: none."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._states: OrderedDict[bytes, Tensor] = OrderedDict()
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._states)

    def longest(self, keys: Sequence[bytes]) -> tuple[int, Tensor | None]:
        """How many of a prompt's chunks are known, and the state (2, L, H) after them."""
        if self._states:
            for known in range(len(keys), 0, -1):
                state = self._states.get(keys[known - 1])
                if state is not None:
                    self._states.move_to_end(keys[known - 1])
                    return known, state
        return 0, None

    def keep(self, key: bytes, state: Tensor) -> None:
        """Take a state (2, L, H) in; nobody may write to it afterwards."""
        size = _size(state)
        if size > self._bound:
            return
        if key in self._states:
            self._states.move_to_end(key)
            return
        self._states[key] = state
        self.size += size
        while self.size > self._bound:
            _, oldest = self._states.popitem(last=False)
            self.size -= _size(oldest)


def prefix_keys(context: npt.NDArray[np.int64], root: bytes = b"") -> list[bytes]:
    """A key for every multiple of CHUNK tokens that leaves at least one token of ``context``.

    Each is a hash of ``root`` (what the model had read before, at most 64 bytes; empty: nothing)
    and all tokens up to there.
    """
    running = hashlib.blake2b(digest_size=_DIGEST_BYTES, key=root)
    keys = []
    for end in range(CHUNK, len(context), CHUNK):
        running.update(context[end - CHUNK : end].data)
        keys.append(running.digest())
    return keys


def text_key(context: npt.NDArray[np.int64], root: bytes = b"") -> bytes:
    """The key of a whole prompt."""
    whole = hashlib.blake2b(context.data, digest_size=_DIGEST_BYTES, key=root, person=b"whole")
    return whole.digest()


def _size(state: Tensor) -> int:
    return state.nbytes + _ENTRY_BYTES
