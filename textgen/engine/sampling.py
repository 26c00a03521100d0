"""Drawing the next token of every row at once, each by its own options and randomness.

One uniform number a row and the inverse of the cumulative distribution: several times faster than
torch.multinomial, and a function of (seed, choice, position) alone. Every operation treats a row
by that row's numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textgen.engine.filters import FILTERS, Filter, Users
from textgen.engine.randomness import stream_key, uniform
from textgen.options import SamplingOptions

_ONE = np.uint64(1)
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
        self._batch: _Batch | None = None  # None: rows have changed

    def set(self, row: int, options: SamplingOptions, seed: int, choice: int) -> None:
        """Start a row at position 0."""
        greedy = options.temperature < GREEDY_BELOW
        self._temperatures[row] = 1.0 if greedy else options.temperature
        self._greedy[row] = greedy
        self._keys[row] = stream_key(seed, choice)
        self._positions[row] = 0
        for each in self._filters:
            each.values[row] = each.value(options)

        self._batch = None

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        for column in self._columns:
            column[target] = column[source]
        self._batch = None

    def draw(self, logits: Tensor) -> Tensor:
        """The next token (R,) of the first R rows; positions advance.

        ``logits`` (R, V) are used up. Temperature 0 takes the likeliest token, of equals the one
        with the lowest id.
        """
        rows = logits.shape[0]
        batch = self._batch
        if batch is None or batch.rows != rows:
            batch = self._batch = self._gather(rows, logits.device)
        likeliest = None if batch.greedy is None else logits.argmax(1)
        numbers = uniform(self._keys[:rows], self._positions[:rows])
        self._positions[:rows] += _ONE
        if batch.all_greedy and likeliest is not None:
            return likeliest
        chosen = self._sample(logits, batch, torch.from_numpy(numbers).to(logits.device))
        if batch.greedy is None or likeliest is None:
            return chosen
        return torch.where(batch.greedy, likeliest, chosen)

    def _sample(self, logits: Tensor, batch: _Batch, numbers: Tensor) -> Tensor:
        if batch.temperatures is not None:
            logits = logits / batch.temperatures
        for users in batch.filters:
            users.apply(logits)
        return draw_by_inverse(logits.softmax(1), numbers)

    def _gather(self, rows: int, device: torch.device) -> _Batch:
        greedy = self._greedy[:rows]
        temperatures = self._temperatures[:rows]
        users = [each.users(rows, device) for each in self._filters]
        return _Batch(
            rows=rows,
            all_greedy=bool(greedy.all()),
            greedy=torch.from_numpy(greedy.copy()).to(device) if greedy.any() else None,
            temperatures=torch.from_numpy(temperatures.copy()).to(device)
            if (temperatures != 1).any()
            else None,
            filters=[each for each in users if each is not None],
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the first ``rows`` rows ask for; kept while they stay the same.

    Gathering it anew would take as long as the drawing.
    """

    rows: int
    all_greedy: bool
    greedy: Tensor | None  # (R,) bool; None: no row is
    temperatures: Tensor | None  # (R, 1); None: all are 1
    filters: list[Users]


def draw_by_inverse(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """The first index (R,) whose cumulative probability exceeds the row's share of the total.

    ``probabilities`` (R, V) need not sum to exactly 1; ``numbers`` (R,) are multiples of 2⁻⁴⁸ in
    [0, 1), so that a share stays below the total. What has probability 0 is never drawn.
    """
    cumulative = probabilities.cumsum(1, dtype=torch.float64)
    shares = numbers[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, shares, right=True)[:, 0]
