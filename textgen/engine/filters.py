"""What narrows the choice of the next token: one class for each option, applied to whole batches.

A filter keeps its option's value for each row and works only on the rows that use it. It must
treat each row by that row's numbers alone, so that a text does not depend on its neighbours.
A new filter is a class here and its place in ``FILTERS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.options import SamplingOptions

_HEAD = 512  # tokens that top_p looks at before it sorts a whole vocabulary


class Filter(ABC):
    """One option of every row. ``capacity`` rows; R of them are looked at in a step."""

    def __init__(self, capacity: int) -> None:
        self.values: npt.NDArray[Any] = self.column(capacity)

    @abstractmethod
    def column(self, capacity: int) -> npt.NDArray[Any]:
        """Values that change nothing."""

    @abstractmethod
    def value(self, options: SamplingOptions) -> float | int:
        """This filter's option."""

    @abstractmethod
    def used(self, rows: int) -> npt.NDArray[np.bool_]:
        """Which of the first ``rows`` rows use it."""

    @abstractmethod
    def smallest(self, logits: Tensor, values: Tensor) -> Tensor:
        """The smallest logit (U, 1) that stays in each of the U rows that use it."""

    def users(self, rows: int, device: torch.device) -> Users | None:
        """Those of the first ``rows`` rows that use it."""
        users = np.flatnonzero(self.used(rows))
        if users.size == 0:
            return None
        indices = torch.from_numpy(users).to(device)
        return Users(self, indices, torch.from_numpy(self.values[users]).to(device))


@dataclass(frozen=True, slots=True)
class Users:
    """The rows (U,) that use a filter, and their values (U,)."""

    filter: Filter
    rows: Tensor
    values: Tensor

    def apply(self, logits: Tensor) -> None:
        """Set the logits (R, V) of what may not be drawn to -inf."""
        picked = logits.index_select(0, self.rows)
        smallest = self.filter.smallest(picked, self.values)
        logits[self.rows] = picked.masked_fill_(picked < smallest, float("-inf"))


class TopK(Filter):
    """The ``top_k`` likeliest tokens, and those exactly as likely as the last of them."""

    def column(self, capacity: int) -> npt.NDArray[Any]:
        """0: all tokens."""
        return np.zeros(capacity, np.int64)

    def value(self, options: SamplingOptions) -> int:
        """``top_k``, which may be any size, so it is brought into the column's range."""
        return min(options.top_k, 2**31)

    def used(self, rows: int) -> npt.NDArray[np.bool_]:
        """Rows with a ``top_k``."""
        used: npt.NDArray[np.bool_] = self.values[:rows] > 0
        return used

    def smallest(self, logits: Tensor, values: Tensor) -> Tensor:
        """The k-th largest logit."""
        ranks = values.clamp(max=logits.shape[1])[:, None] - 1
        largest = logits.topk(int(ranks.max()) + 1).values
        return largest.gather(1, ranks)


class TopP(Filter):
    """The smallest set of likeliest tokens with at least the mass ``top_p``, and their equals."""

    def column(self, capacity: int) -> npt.NDArray[Any]:
        """1: all tokens."""
        return np.ones(capacity, np.float64)

    def value(self, options: SamplingOptions) -> float:
        """``top_p``."""
        return options.top_p

    def used(self, rows: int) -> npt.NDArray[np.bool_]:
        """Rows with a ``top_p`` below 1."""
        used: npt.NDArray[np.bool_] = self.values[:rows] < 1
        return used

    def smallest(self, logits: Tensor, values: Tensor) -> Tensor:
        """The logit at which the mass is reached, found among the likeliest where that is enough.

        Sorting a large vocabulary is most of a step's time, and its tail is seldom needed.
        """
        # softmax goes row by row; exp over the whole batch would not treat all columns alike.
        probabilities = logits.softmax(1)
        edges, found = _reach(logits, probabilities, values, min(_HEAD, logits.shape[1]))
        rest = (~found).nonzero()[:, 0]
        if rest.numel():
            everything = logits[rest], probabilities[rest], values[rest], logits.shape[1]
            edges[rest] = _reach(*everything)[0]
        return edges


def _reach(
    logits: Tensor, probabilities: Tensor, mass: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The logit (U, 1) at which the ``count`` likeliest reach ``mass`` (U,); (U,) if they do."""
    largest = logits.topk(count)
    reached = probabilities.gather(1, largest.indices).cumsum(1, dtype=torch.float64)
    before = (reached < mass[:, None]).sum(1)
    ranks = before.clamp(max=count - 1)[:, None]
    return largest.values.gather(1, ranks), before < count


# In this order, after the temperature.
FILTERS: tuple[type[Filter], ...] = (TopK, TopP)
