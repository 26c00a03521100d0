"""Where a text stands: all that its continuation depends on, in 2·L·H numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidOption


@dataclass(frozen=True, eq=False, slots=True)
class TextState:
    """What a model knows of a text that it has read and written, whatever its length.

    ``values`` (2, L, H), float32: hidden and cell before the last token, which is ``token``.
    ``tokens`` have been read and drawn. ``pending`` are the last of them where they make no whole
    character yet. ``rest`` is text that was shown beyond the last token: where a stop string began
    within a token.
    """

    values: npt.NDArray[np.float32]
    token: int
    tokens: int
    pending: tuple[int, ...] = ()
    rest: str = ""

    @property
    def key(self) -> bytes:
        """A hash of the values."""
        return hashlib.blake2b(self.values.tobytes(), digest_size=16).digest()

    def check(self, shape: tuple[int, int, int], vocab_size: int) -> None:
        """InvalidOption where it cannot be of a model with this ``shape`` (2, L, H) of states."""
        known = all(0 <= token < vocab_size for token in (self.token, *self.pending))
        if self.values.shape != shape or self.values.dtype != np.float32 or not known:
            raise InvalidOption(
                f"The state is of another model: it has {self.values.shape} numbers, this one's "
                f"have {shape}. Send the text instead.",
                code="state_of_another_model",
                param="state_id",
            )
