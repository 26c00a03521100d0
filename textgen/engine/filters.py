"""What narrows the choice of the next token by the chances alone: top_k, top_p and their like.

A filter keeps its option's value for each row and works only on the rows that use it. It must
treat each row by that row's numbers alone, so that a text does not depend on its neighbours:
functions such as exp and log go row by row (softmax), since over a whole batch they would not
treat all columns alike. A new filter is a class here and its place in ``FILTERS``.

Chances need not sum to 1; what a filter takes out becomes 0. Multiplying by a mask is many times
faster than torch.where, and numpy's sort than torch's: docs/experiments.md.
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


class Filter(ABC):
    """One option of every row. ``capacity`` rows; R of them are looked at in a step."""

    unused: float  # the value that changes nothing

    def __init__(self, capacity: int) -> None:
        self.values: npt.NDArray[Any] = np.full(capacity, self.unused)

    @abstractmethod
    def value(self, options: SamplingOptions) -> float:
        """This filter's option; ``unused`` where it changes nothing."""

    @abstractmethod
    def narrow(self, chances: Tensor, logits: Tensor, values: Tensor) -> Tensor:
        """The chances (U, V) of the U rows that use it, 0 where a token may not be drawn.

        ``chances`` may be used up; ``logits`` (U, V) are what they were made of, before any filter;
        ``values`` (U, 1) are float64.
        """

    def users(self, rows: int, device: torch.device) -> Users | None:
        """Those of the first ``rows`` rows that use it."""
        users = np.flatnonzero(self.values[:rows] != self.unused)
        if users.size == 0:
            return None
        values = torch.from_numpy(self.values[users][:, None]).to(device)
        indices = None if users.size == rows else torch.from_numpy(users).to(device)
        return Users(self, indices, values)


@dataclass(frozen=True, slots=True)
class Users:
    """The rows (U,) that use a filter, None for all; and their values (U, 1)."""

    filter: Filter
    rows: Tensor | None
    values: Tensor

    def apply(self, chances: Tensor, logits: Tensor) -> Tensor:
        """The chances (R, V), 0 where a token may not be drawn; the old ones are used up."""
        if self.rows is None:
            return self.filter.narrow(chances, logits, self.values)
        picked = chances.index_select(0, self.rows)
        narrowed = self.filter.narrow(picked, logits.index_select(0, self.rows), self.values)
        return chances.index_copy_(0, self.rows, narrowed)


class MinP(Filter):
    """Tokens with at least ``min_p`` times the likeliest one's chance."""

    unused = 0.0

    def value(self, options: SamplingOptions) -> float:
        """``min_p``."""
        return options.min_p

    def narrow(self, chances: Tensor, logits: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        """A comparison with the largest chance."""
        smallest = chances.amax(1, keepdim=True) * values.to(chances.dtype)
        return chances.mul_(chances >= smallest)


class TopK(Filter):
    """The ``top_k`` likeliest tokens, and those exactly as likely as the last of them."""

    unused = 0.0

    def value(self, options: SamplingOptions) -> float:
        """``top_k``, which may be any size, so it is brought into a common range."""
        return float(min(max(options.top_k, 0), 2**31))

    def narrow(self, chances: Tensor, logits: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        """A comparison with the k-th largest chance."""
        places = chances.shape[1] - values.clamp(max=chances.shape[1]).long()
        parted = _parted(chances, sorted(set(places.flatten().tolist())))
        return chances.mul_(chances >= parted.gather(1, places))


class TopP(Filter):
    """The smallest set of likeliest tokens with at least the mass ``top_p``, and their equals."""

    unused = 1.0

    def value(self, options: SamplingOptions) -> float:
        """``top_p``."""
        return options.top_p

    def narrow(self, chances: Tensor, logits: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        """A comparison with the chance at which the mass is reached."""
        ordered = _sorted(chances).flip(1)
        reached = ordered.cumsum(1, dtype=torch.float64)
        ranks = (reached < values * reached[:, -1:]).sum(1, keepdim=True)
        edges = ordered.gather(1, ranks.clamp_(max=chances.shape[1] - 1))
        return chances.mul_(chances >= edges)


class TypicalP(Filter):
    """The tokens whose surprise is nearest to the expected one, with the mass ``typical_p``.

    Meister, Pimentel, Wiher and Cotterell, "Locally typical sampling" (2023), section 4.
    """

    unused = 1.0

    def value(self, options: SamplingOptions) -> float:
        """``typical_p``."""
        return options.typical_p

    def narrow(self, chances: Tensor, logits: Tensor, values: Tensor) -> Tensor:
        """A comparison with the distance from the entropy at which the mass is reached."""
        # Surprise and entropy are off by the same number where chances do not sum to 1.
        surprise = -logits.double().log_softmax(1)
        surprise.masked_fill_(chances == 0, torch.inf)
        parts = chances * surprise.nan_to_num(posinf=0)
        # Running sums add up row by row in one order, whatever the number of rows.
        mass = chances.cumsum(1, dtype=torch.float64)[:, -1:]
        distance = (surprise - parts.cumsum(1)[:, -1:] / mass).abs_()
        order = _order(distance)
        reached = chances.gather(1, order).cumsum(1, dtype=torch.float64)
        ranks = (reached < values * mass).sum(1, keepdim=True).clamp_(max=chances.shape[1] - 1)
        edges = distance.gather(1, order.gather(1, ranks))
        return chances.mul_(distance <= edges)


def _sorted(values: Tensor) -> Tensor:
    """Each row (U, V) in ascending order."""
    if values.device.type != "cpu":
        return values.sort(1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=1))


def _parted(values: Tensor, places: list[int]) -> Tensor:
    """Each row (U, V) with those at ``places`` where an ascending order would have them."""
    if values.device.type != "cpu":
        return values.sort(1).values
    return torch.from_numpy(np.partition(values.numpy(), places, axis=1))


def _order(values: Tensor) -> Tensor:
    """The columns of each row (U, V) in ascending order of their values; equals in any order."""
    if values.device.type != "cpu":
        return values.argsort(1)
    return torch.from_numpy(np.argsort(values.numpy(), axis=1))


# In this order, after the temperature; it is vLLM's, with typical_p last as in Hugging Face's.
FILTERS: tuple[type[Filter], ...] = (MinP, TopK, TopP, TypicalP)
