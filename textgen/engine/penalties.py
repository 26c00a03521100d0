"""What is added to logits: the caller's own biases, and penalties for what was said before.

A row of numbers over the whole vocabulary for each row that uses one; nothing for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textgen.engine.vocabulary import Ids
from textgen.options import SamplingOptions

_NEUTRAL = (1.0, 0.0, 0.0)


class Biases:
    """``logit_bias`` and ``allowed_token_ids`` of every row: both are added to the logits."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self._capacity = capacity
        self._device = device
        self._used = np.zeros(capacity, np.bool_)
        self._table = torch.empty(capacity, 0)

    def set(self, row: int, options: SamplingOptions, columns: int) -> None:
        """Take a row's options; logits have V = ``columns``."""
        allowed, given = options.allowed_token_ids, options.logit_bias
        self._used[row] = bool(given) or allowed is not None
        if not self._used[row]:
            return
        if self._table.shape[1] == 0:
            self._table = torch.empty(self._capacity, columns, device=self._device)
        biases = self._table[row]
        biases.fill_(0.0 if allowed is None else -torch.inf)
        if allowed is not None:
            biases[list(allowed)] = 0.0
        for token, bias in given.items():
            biases[token] += bias

    def used(self, row: int) -> bool:
        """Whether a row has any."""
        return bool(self._used[row])

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        self._used[target] = self._used[source]
        if self._used[source]:
            self._table[target] = self._table[source]

    def users(self, rows: int) -> BiasUsers | None:
        """Those of the first ``rows`` rows that have any."""
        users = torch.from_numpy(np.flatnonzero(self._used[:rows])).to(self._device)
        return BiasUsers(users, self._table[users]) if users.numel() else None


@dataclass(frozen=True, slots=True)
class BiasUsers:
    """Rows (U,) and their biases (U, V)."""

    rows: Tensor
    biases: Tensor

    def apply(self, logits: Tensor) -> None:
        """Add them to the logits (R, V)."""
        logits.index_add_(0, self.rows, self.biases)


class Penalties:
    """``repetition_penalty``, ``frequency_penalty`` and ``presence_penalty`` of every row.

    The first counts the prompt too; the others only what was drawn. As in vLLM.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        self._capacity = capacity
        self._device = device
        self._values = np.tile(np.array(_NEUTRAL, np.float32), (capacity, 1))
        self._counts = torch.empty(capacity, 0)  # how often each token was drawn
        self._seen = torch.empty(capacity, 0)  # 1 for those in the prompt or drawn, else 0

    def set(self, row: int, options: SamplingOptions, columns: int, prompt: Ids) -> None:
        """Take a row's options; logits have V = ``columns``."""
        self._values[row] = (
            options.repetition_penalty, options.frequency_penalty, options.presence_penalty
        )  # fmt: skip
        if not self.used(row):
            return
        if self._counts.shape[1] == 0:
            shape = (self._capacity, columns)
            self._counts = torch.empty(shape, device=self._device)
            self._seen = torch.empty(shape, device=self._device)
        self._counts[row] = 0
        self._seen[row] = 0
        there = np.flatnonzero(np.bincount(prompt, minlength=1))
        self._seen[row, torch.from_numpy(there).to(self._device)] = 1

    def used(self, row: int) -> bool:
        """Whether a row has any."""
        return tuple(self._values[row].tolist()) != _NEUTRAL

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        self._values[target] = self._values[source]
        if self.used(source):
            self._counts[target] = self._counts[source]
            self._seen[target] = self._seen[source]

    def users(self, rows: int) -> PenaltyUsers | None:
        """Those of the first ``rows`` rows that have any."""
        users = np.flatnonzero((self._values[:rows] != np.array(_NEUTRAL, np.float32)).any(1))
        if users.size == 0:
            return None
        values = torch.from_numpy(self._values[users]).to(self._device)
        indices = torch.from_numpy(users).to(self._device)
        again, often, present = values.unsqueeze(2).unbind(1)
        return PenaltyUsers(indices, again, often, present, self._counts, self._seen)


@dataclass(frozen=True, slots=True)
class PenaltyUsers:
    """Rows (U,), their penalties (U, 1) each, and what was said so far (capacity, V)."""

    rows: Tensor
    repetition: Tensor
    frequency: Tensor
    presence: Tensor
    counts: Tensor
    seen: Tensor

    def apply(self, logits: Tensor) -> None:
        """Penalise the logits (R, V)."""
        picked = logits.index_select(0, self.rows)
        counts = self.counts.index_select(0, self.rows)
        # Where a token was not seen the divisor is exactly 1.
        divisors = self.seen.index_select(0, self.rows).mul_(self.repetition - 1).add_(1)
        again = picked.clamp(min=0).div_(divisors).add_(picked.clamp_(max=0).mul_(divisors))
        again.sub_(self.frequency * counts).sub_(self.presence * counts.clamp(max=1))
        logits.index_copy_(0, self.rows, again)

    def push(self, tokens: Tensor) -> None:
        """Count what all rows have drawn (R,)."""
        drawn = tokens[self.rows].clamp(min=0)  # below 0 where the text ends
        self.counts[self.rows, drawn] += 1
        self.seen[self.rows, drawn] = 1
