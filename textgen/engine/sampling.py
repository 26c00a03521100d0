"""Drawing the next token of every row at once, each by its own options and randomness.

One uniform number a row and the inverse of the cumulative distribution: several times faster than
torch.multinomial, and a function of (seed, choice, position) alone. Every operation treats a row
by that row's numbers only. Options come in vLLM's order: guards and biases, penalties, the
temperature, then what narrows the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.corpus.copy_index import CopyIndex
from textgen.engine.copy_guard import checked_index
from textgen.engine.filters import FILTERS, Filter, Users
from textgen.engine.guard import Guard
from textgen.engine.guards import GuardUsers, guards_of
from textgen.engine.penalties import Biases, BiasUsers, Penalties, PenaltyUsers
from textgen.engine.plain_draws import PlainDraws
from textgen.engine.randomness import stream_key, uniform
from textgen.engine.requests import NOTHING_LEFT
from textgen.engine.temperatures import GREEDY_BELOW, Temperatures, TemperatureUsers
from textgen.engine.vocabulary import Vocabulary
from textgen.options import SamplingOptions

_ONE = np.uint64(1)
NO_PROMPT = np.empty(0, np.int64)


class RowSampler:
    """The sampling options of up to ``capacity`` rows, those in use always the first ones."""

    def __init__(
        self,
        capacity: int,
        vocabulary: Vocabulary,
        *,
        columns: int | None = None,
        device: torch.device | str = "cpu",
        copies: CopyIndex | None = None,
        filters: Sequence[type[Filter]] = FILTERS,
    ) -> None:
        """Logits have V = ``columns``, the vocabulary's size where not given.

        ``copies`` has the passages of the training text, for who is not to repeat them.
        """
        device = torch.device(device)
        self._vocabulary = vocabulary
        self._copies = copies
        self._columns = len(vocabulary) if columns is None else columns
        self._device = device
        self.draws = PlainDraws(capacity, self._columns)
        self._keys, self._positions = self.draws.keys, self.draws.positions
        self._guards: list[list[Guard]] = [[] for _ in range(capacity)]
        self._biases = Biases(capacity, device)
        self._penalties = Penalties(capacity, device)
        self._temperatures = Temperatures(capacity)
        self._filters = [filter_type(capacity) for filter_type in filters]
        self._batch: _Batch | None = None  # None: rows have changed

    def check(self, options: SamplingOptions) -> None:
        """InvalidOption where the options do not fit the model."""
        self._vocabulary.check(options)
        if options.reject_if_copied_over is not None:
            checked_index(options.reject_if_copied_over, self._copies)

    def set(
        self,
        row: int,
        options: SamplingOptions,
        seed: int,
        choice: int,
        prompt: npt.NDArray[np.integer[Any]] = NO_PROMPT,
    ) -> None:
        """Start a row at position 0; ``prompt`` is what stands before its text."""
        before = prompt.astype(np.int64, copy=False)
        self._keys[row] = stream_key(seed, choice)
        self._positions[row] = 0
        self._guards[row] = guards_of(options, self._vocabulary, before, self._copies)
        self._biases.set(row, options, self._columns)
        self._penalties.set(row, options, self._columns, before)
        self._temperatures.set(row, options)
        for each in self._filters:
            each.values[row] = each.value(options)
        self.draws.rows[row] = self._is_plain(row, options)
        heat = options.temperatures[0]
        self.draws.heat[row] = 0 if heat < GREEDY_BELOW else heat
        self._batch = None

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        self.draws.move(source, target)
        for each in self._filters:
            each.values[target] = each.values[source]
        self._guards[target] = self._guards[source]
        self._biases.move(source, target)
        self._penalties.move(source, target)
        self._temperatures.move(source, target)
        self._batch = None

    def draw(self, logits: Tensor) -> Tensor:
        """The next token (R,) of the first R rows; positions advance.

        ``logits`` (R, V) are used up. Temperature 0 takes the likeliest token, of equals the one
        with the lowest id. NOTHING_LEFT where a row's options leave no token.
        """
        rows = logits.shape[0]
        batch = self._batch
        if batch is None or batch.rows != rows:
            batch = self._batch = self._gather(rows)
        for change in batch.changes:
            change.apply(logits)
        heat = batch.temperatures.at(self._positions[:rows])
        likeliest = None if heat.greedy is None else logits.argmax(1)
        if likeliest is not None and heat.all_greedy:
            drawn = likeliest
        else:
            drawn = self._sample(logits, batch, heat.divisors)
            if likeliest is not None and heat.greedy is not None:
                drawn = torch.where(heat.greedy, likeliest, drawn)
        self._positions[:rows] += _ONE
        if batch.may_leave_nothing:
            drawn = drawn.masked_fill(logits.amax(1) == -torch.inf, NOTHING_LEFT)
        for follower in batch.followers:
            follower.push(drawn)
        return drawn

    def _sample(self, logits: Tensor, batch: _Batch, divisors: Tensor | None) -> Tensor:
        rows = batch.rows
        numbers = uniform(self._keys[:rows], self._positions[:rows])
        if divisors is not None:
            logits = logits / divisors
        chances = logits.softmax(1)
        for users in batch.filters:
            chances = users.apply(chances, logits)
        return draw_by_inverse(chances, torch.from_numpy(numbers).to(logits.device))

    def _is_plain(self, row: int, options: SamplingOptions) -> bool:
        """Whether a row asks for one temperature and nothing else."""
        changed = self._guards[row] or self._biases.used(row) or self._penalties.used(row)
        narrowed = any(each.values[row] != each.unused for each in self._filters)
        return not (changed or narrowed) and len(options.temperatures) == 1

    def _gather(self, rows: int) -> _Batch:
        guarded = [(row, self._guards[row]) for row in range(rows) if self._guards[row]]
        guards = GuardUsers(guarded) if guarded else None
        biases, penalties = self._biases.users(rows), self._penalties.users(rows)
        filters = [each.users(rows, self._device) for each in self._filters]
        return _Batch(
            rows=rows,
            changes=[each for each in (guards, biases, penalties) if each is not None],
            followers=[each for each in (guards, penalties) if each is not None],
            may_leave_nothing=guards is not None or biases is not None,
            temperatures=self._temperatures.users(rows, self._device),
            filters=[each for each in filters if each is not None],
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the first ``rows`` rows ask for; kept while they stay the same.

    Gathering it anew would take as long as the drawing.
    """

    rows: int
    changes: list[GuardUsers | BiasUsers | PenaltyUsers]
    followers: list[GuardUsers | PenaltyUsers]
    may_leave_nothing: bool
    temperatures: TemperatureUsers
    filters: list[Users]


def draw_by_inverse(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """The first index (R,) whose cumulative probability exceeds the row's share of the total.

    ``probabilities`` (R, V) need not sum to exactly 1; ``numbers`` (R,) are multiples of 2⁻⁴⁸ in
    [0, 1), so that a share stays below the total. What has probability 0 is never drawn.
    """
    cumulative = probabilities.cumsum(1, dtype=torch.float64)
    shares = numbers[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, shares, right=True)[:, 0]
