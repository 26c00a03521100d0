"""The training text as parallel streams, each read on from where it stood.

Where each stream stands follows from the step alone, so a training can stop and go on anywhere
with nothing saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.tokenizers import Ids

IGNORED = -100  # a target that does not count; what torch's cross-entropy leaves out


@dataclass(frozen=True, slots=True)
class Batch:
    """B rows of T tokens, int64: what is read, and the token that follows each, or IGNORED.

    Rows that are ``fresh`` (B,) begin from a state of zeros; None: all go on.
    """

    inputs: Tensor
    targets: Tensor
    fresh: Tensor | None = None


class Streams(Protocol):
    """Rows that go on from step to step."""

    def batch(self, step: int) -> Batch:
        """What step ``step``, counted from 0, reads."""


class TextStreams:
    """B readers, evenly spaced, who walk round the text T tokens a step.

    The text is a ring, so no token is left out and the state of a stream is never cut: after one
    epoch each reader goes on into the part of the next. ``counted`` says of every token whether
    predicting it counts; None where all do.
    """

    def __init__(
        self,
        tokens: Ids,
        batch_size: int,
        sequence_length: int,
        counted: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self._tokens = tokens
        self._counted = counted
        self._starts = (np.arange(batch_size) * tokens.size // batch_size)[:, None]  # (B, 1)
        self._offsets = np.arange(sequence_length + 1)[None]  # (1, T + 1)
        self._sequence_length = sequence_length

    def batch(self, step: int) -> Batch:
        """Targets are the inputs one token further on."""
        places = self._starts + (self._offsets + step * self._sequence_length)  # (B, T + 1)
        places %= self._tokens.size
        ids = torch.from_numpy(self._tokens[places].astype(np.int64))
        targets = ids[:, 1:]
        if self._counted is not None:
            left_out = torch.from_numpy(self._counted[places[:, 1:]] == 0)
            targets = targets.masked_fill(left_out, IGNORED)
        return Batch(ids[:, :-1], targets)
