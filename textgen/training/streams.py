"""The training text as B parallel streams, each read on from where it stood."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from textgen.tokenizers import Ids


class Streams:
    """B readers, evenly spaced, who walk round the text T tokens a step.

    The text is a ring, so no token is left out and the state of a stream is never cut: after one
    epoch each reader goes on into the part of the next. Where they stand follows from the step
    alone, so there is nothing to save.
    """

    def __init__(self, tokens: Ids, batch_size: int, sequence_length: int) -> None:
        self._tokens = tokens
        self._starts = (np.arange(batch_size) * tokens.size // batch_size)[:, None]  # (B, 1)
        self._offsets = np.arange(sequence_length + 1)[None]  # (1, T + 1)
        self._sequence_length = sequence_length

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step, both (B, T) int64; targets are one token further on."""
        places = self._starts + (self._offsets + step * self._sequence_length)  # (B, T + 1)
        ids = torch.from_numpy(self._tokens[places % self._tokens.size].astype(np.int64))
        return ids[:, :-1], ids[:, 1:]
