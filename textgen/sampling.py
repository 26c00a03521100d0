"""Drawing the next token of every row at once, each by its own options and randomness.

One uniform number a row and the inverse of the cumulative distribution: several times faster than
torch.multinomial, and a function of (seed, choice, position) alone. Every operation treats a row
by that row's numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from textgen.filters import FILTERS, Filter
from textgen.options import SamplingOptions
from textgen.randomness import stream_key, uniform

GREEDY_BELOW = 1e-5  # temperatures where a division would only overflow


class RowSampler:
    """The sampling options of up to ``capacity`` rows, those in use always the first ones."""

    def __init__(self, capacity: int, filters: Sequence[type[Filter]] = FILTERS) -> None:
        self._temperatures = np.ones((capacity, 1), np.float32)
        self._greedy = np.zeros(capacity, np.bool_)
        self._keys = np.zeros(capacity, np.uint64)
        self._positions = np.zeros(capacity, np.uint64)
        self._filters = [filter_type(capacity) for filter_type in filters]
        self._columns = [self._temperatures, self._greedy, self._keys, self._positions]
        self._columns += [each.values for each in self._filters]

    def set(self, row: int, options: SamplingOptions, seed: int, choice: int) -> None:
        """Start a row at position 0."""
        greedy = options.temperature < GREEDY_BELOW
        self._temperatures[row] = 1.0 if greedy else options.temperature
        self._greedy[row] = greedy
        self._keys[row] = stream_key(seed, choice)
        self._positions[row] = 0
        for each in self._filters:
            each.values[row] = each.value(options)

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        for column in self._columns:
            column[target] = column[source]

    def draw(self, logits: Tensor) -> Tensor:
        """The next token (R,) of the first R rows from their logits (R, V); positions advance.

        Temperature 0 takes the likeliest token, of equals the one with the lowest id.
        """
        rows = logits.shape[0]
        greedy = self._greedy[:rows]
        if greedy.all():
            chosen = logits.argmax(1)
        else:
            chosen = self._sample(logits)
            if greedy.any():
                mask = torch.from_numpy(greedy).to(logits.device)
                chosen = torch.where(mask, logits.argmax(1), chosen)
        self._positions[:rows] += np.uint64(1)
        return chosen

    def _sample(self, logits: Tensor) -> Tensor:
        rows = logits.shape[0]
        scaled = logits / torch.from_numpy(self._temperatures[:rows]).to(logits.device)
        for each in self._filters:
            each.apply(scaled)
        numbers = torch.from_numpy(uniform(self._keys[:rows], self._positions[:rows]))
        return draw_by_inverse(scaled.softmax(1), numbers.to(logits.device))


def draw_by_inverse(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """The first index (R,) whose cumulative probability exceeds the row's number in [0, 1).

    ``probabilities`` (R, V) need not sum to exactly 1; what has probability 0 is never drawn.
    """
    cumulative = probabilities.cumsum(1, dtype=torch.float64)
    total = cumulative[:, -1:]
    # A product just below the total may round up to it, where no index is left.
    below_total = torch.nextafter(total, torch.zeros_like(total))
    edges = torch.minimum(numbers[:, None] * total, below_total)
    return torch.searchsorted(cumulative, edges, right=True)[:, 0]
