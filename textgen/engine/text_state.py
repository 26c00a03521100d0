"""Where a text stands: all that its continuation depends on, in 2·L·H numbers."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidOption


@dataclass(frozen=True, eq=False, slots=True)
class TextState:
    """What a model knows of a text that it has read and written, whatever its length.

    ``values`` (2, L, H), float32: hidden and cell before the last token, which is ``token``.
    ``tokens`` have been read and drawn. ``pending`` are the last of them where they make no whole
    character yet. ``rest`` is text that was shown beyond the last token: where a stop string began
    within a token. ``numerics`` names how the numbers were computed; others would differ in bits.
    """

    values: npt.NDArray[np.float32]
    token: int
    tokens: int
    numerics: str
    pending: tuple[int, ...] = ()
    rest: str = ""

    @property
    def key(self) -> bytes:
        """A hash of the values."""
        return hashlib.blake2b(self.values.tobytes(), digest_size=16).digest()

    def pack(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "shape": self.values.shape,
                "values": base64.b64encode(self.values.astype("<f4").tobytes()).decode(),
                "token": self.token,
                "tokens": self.tokens,
                "numerics": self.numerics,
                "pending": self.pending,
                "rest": self.rest,
            }
        )

    @classmethod
    def unpack(cls, text: str) -> Self:
        """Back from `pack`."""
        fields = json.loads(text)
        raw = np.frombuffer(base64.b64decode(fields["values"]), "<f4")
        values = raw.astype(np.float32).reshape(fields["shape"])
        return cls(
            values,
            fields["token"],
            fields["tokens"],
            fields["numerics"],
            tuple(fields["pending"]),
            fields["rest"],
        )

    def check(self, shape: tuple[int, int, int], vocab_size: int, numerics: str) -> None:
        """InvalidOption where it cannot be of a model with this ``shape`` (2, L, H) of states.

        Also where its numbers were computed in another way: its texts would not be those of the
        whole text.
        """
        known = all(0 <= token < vocab_size for token in (self.token, *self.pending))
        if self.values.shape != shape or self.values.dtype != np.float32 or not known:
            raise InvalidOption(
                f"The state is of another model: it has {self.values.shape} numbers, this one's "
                f"have {shape}. Send the text instead.",
                code="state_of_another_model",
                param="state_id",
            )
        if self.numerics != numerics:
            raise InvalidOption(
                f"The state was computed on another kind of machine ({self.numerics}); this one "
                f"({numerics}) would not go on with the same text. Send the text instead.",
                code="state_of_other_numerics",
                param="state_id",
            )
