"""The training text as parallel streams, each read on from where it stood.

Where each stream stands follows from the step alone, so a training can stop and go on anywhere
with nothing saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
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

    @property
    def share(self) -> Fraction:
        """How much of one pass over the text a step is."""

    def batch(self, step: int) -> Batch:
        """What step ``step``, counted from 0, reads."""


@dataclass(frozen=True, slots=True)
class Beginnings:
    """How often a reader of documents is put at the beginning of one, with nothing before it.

    Of a conversation also at a later turn, but not at an answer, whose question would be missing.
    A model that is asked for a text begins so, and would otherwise meet it at its first step alone.
    """

    end_id: int  # stands before each document, and after each turn of one that has turns
    share: float  # of the rows of a step, where a document begins among what they would read
    seed: int
    reply_id: int | None = None  # what begins a turn that only answers the one before it

    def drawn(self, step: int, rows: int) -> npt.NDArray[np.bool_]:
        """Which rows (B,) are to begin one in this step."""
        if step < 0:
            return np.zeros(rows, bool)
        drawn: npt.NDArray[np.bool_] = (
            np.random.default_rng([self.seed, step]).random(rows) < self.share
        )
        return drawn


class TextStreams:
    """B readers, evenly spaced, who walk round the text T tokens a step.

    The text is a ring, so no token is left out: after one epoch each reader goes on into the part
    of the next. ``counted`` says of every token whether predicting it counts; None where all do.
    With ``beginnings`` a reader now and then reads from the next document on for a step, and then
    from where it would have been, both times from a state of zeros.
    """

    def __init__(
        self,
        tokens: Ids,
        batch_size: int,
        sequence_length: int,
        counted: npt.NDArray[np.uint8] | None = None,
        beginnings: Beginnings | None = None,
    ) -> None:
        self._tokens = tokens
        self._counted = counted
        self._beginnings = beginnings
        self._starts = (np.arange(batch_size) * tokens.size // batch_size)[:, None]  # (B, 1)
        self._offsets = np.arange(sequence_length + 1)[None]  # (1, T + 1)
        self._sequence_length = sequence_length

    @property
    def share(self) -> Fraction:
        """By the tokens of all rows."""
        return Fraction(len(self._starts) * self._sequence_length, self._tokens.size)

    def batch(self, step: int) -> Batch:
        """Targets are the inputs one token further on."""
        places, fresh = self._places(step), None
        if self._beginnings is not None:
            ahead, moved = self._ahead(step), self._ahead(step - 1) >= 0
            places += np.maximum(ahead, 0)[:, None]
            fresh = torch.from_numpy((ahead >= 0) | moved)
        places %= self._tokens.size
        ids = torch.from_numpy(self._tokens[places].astype(np.int64))
        targets = ids[:, 1:]
        if self._counted is not None:
            left_out = torch.from_numpy(self._counted[places[:, 1:]] == 0)
            targets = targets.masked_fill(left_out, IGNORED)
        return Batch(ids[:, :-1], targets, fresh)

    def _places(self, step: int) -> npt.NDArray[np.int64]:
        """Where in the ring the rows read (B, T + 1), before they are moved."""
        return self._starts + (self._offsets + step * self._sequence_length)

    def _ahead(self, step: int) -> npt.NDArray[np.int64]:
        """How far each row (B,) is moved to where a document begins; -1: not at all."""
        assert self._beginnings is not None  # noqa: S101
        drawn = self._beginnings.drawn(step, len(self._starts))
        read = self._tokens[self._places(step) % self._tokens.size]  # (B, T + 1)
        ends = (read[:, :-1] == self._beginnings.end_id) & drawn[:, None]
        if self._beginnings.reply_id is not None:
            ends &= read[:, 1:] != self._beginnings.reply_id
        return np.where(ends.any(1), ends.argmax(1), -1)
