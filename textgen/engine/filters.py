"""What narrows the choice of the next token by the chances alone: top_k, top_p and their like.

A filter keeps its option's value for each row and works only on the rows that use it. It must
treat each row by that row's numbers alone, so that a text does not depend on its neighbours:
functions such as exp and log go row by row (softmax), since over a whole batch they would not
treat all columns alike. A new filter is a class here and its place in ``FILTERS``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.options import SamplingOptions

_HEAD = 512  # tokens that top_p looks at before it sorts a whole vocabulary
NOTHING = float("-inf")


class Filter(ABC):
    """One option of every row. ``capacity`` rows; R of them are looked at in a step."""

    unused: float  # the value that changes nothing

    def __init__(self, capacity: int) -> None:
        self.values: npt.NDArray[Any] = np.full(capacity, self.unused)

    @abstractmethod
    def value(self, options: SamplingOptions) -> float:
        """This filter's option; ``unused`` where it changes nothing."""

    @abstractmethod
    def narrow(self, logits: Tensor, values: Tensor) -> Tensor:
        """The logits (U, V) of the U rows that use it, -inf where a token may not be drawn.

        ``logits`` may be used up; ``values`` (U, 1) are float64.
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

    def apply(self, logits: Tensor) -> Tensor:
        """The logits (R, V) with -inf where a token may not be drawn; the old ones are used up."""
        if self.rows is None:
            return self.filter.narrow(logits, self.values)
        picked = logits.index_select(0, self.rows)
        return logits.index_copy_(0, self.rows, self.filter.narrow(picked, self.values))


class MinP(Filter):
    """Tokens with at least ``min_p`` times the likeliest one's chance."""

    unused = NOTHING

    def value(self, options: SamplingOptions) -> float:
        """The logarithm of ``min_p``: how far a logit may be below the largest."""
        return math.log(options.min_p) if options.min_p > 0 else NOTHING

    def narrow(self, logits: Tensor, values: Tensor) -> Tensor:
        """A comparison with the largest logit."""
        smallest = logits.amax(1, keepdim=True) + values.to(logits.dtype)
        return logits.masked_fill_(logits < smallest, NOTHING)


class TopK(Filter):
    """The ``top_k`` likeliest tokens, and those exactly as likely as the last of them."""

    unused = 0.0

    def value(self, options: SamplingOptions) -> float:
        """``top_k``, which may be any size, so it is brought into a common range."""
        return float(min(max(options.top_k, 0), 2**31))

    def narrow(self, logits: Tensor, values: Tensor) -> Tensor:
        """A comparison with the k-th largest logit."""
        ranks = values.clamp(max=logits.shape[1]).long() - 1
        largest = logits.topk(int(ranks.max()) + 1).values
        return logits.masked_fill_(logits < largest.gather(1, ranks), NOTHING)


class TopP(Filter):
    """The smallest set of likeliest tokens with at least the mass ``top_p``, and their equals."""

    unused = 1.0

    def value(self, options: SamplingOptions) -> float:
        """``top_p``."""
        return options.top_p

    def narrow(self, logits: Tensor, values: Tensor) -> Tensor:
        """A comparison with the logit at which the mass is reached.

        It is looked for among the likeliest where that is enough: sorting a large vocabulary is
        most of a step's time, and its tail is seldom needed.
        """
        probabilities = logits.softmax(1)
        edges, found = _reach(logits, probabilities, values, min(_HEAD, logits.shape[1]))
        rest = (~found).nonzero()[:, 0]
        if rest.numel():
            everything = logits[rest], probabilities[rest], values[rest], logits.shape[1]
            edges[rest] = _reach(*everything)[0]
        return logits.masked_fill_(logits < edges, NOTHING)


def _reach(
    logits: Tensor, probabilities: Tensor, mass: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The logit (U, 1) at which the ``count`` likeliest reach ``mass`` (U, 1); (U,) if they do."""
    largest = logits.topk(count)
    reached = probabilities.gather(1, largest.indices).cumsum(1, dtype=torch.float64)
    before = (reached < mass).sum(1)
    ranks = before.clamp(max=count - 1)[:, None]
    return largest.values.gather(1, ranks), before < count


class TypicalP(Filter):
    """The tokens whose surprise is nearest to the expected one, with the mass ``typical_p``.

    Meister, Pimentel, Wiher and Cotterell, "Locally typical sampling" (2023), section 4.
    """

    unused = 1.0

    def value(self, options: SamplingOptions) -> float:
        """``typical_p``."""
        return options.typical_p

    def narrow(self, logits: Tensor, values: Tensor) -> Tensor:
        """A comparison with the distance from the entropy at which the mass is reached."""
        surprise = -logits.double().log_softmax(1)
        chances = logits.double().softmax(1)
        # A running sum adds up row by row in one order, whatever the number of rows.
        parts = (chances * surprise).masked_fill_(chances == 0, 0)
        distance = (surprise - parts.cumsum(1)[:, -1:]).abs_()
        nearest = distance.sort(1)
        reached = chances.gather(1, nearest.indices).cumsum(1)
        ranks = (reached < values).sum(1, keepdim=True).clamp_(max=logits.shape[1] - 1)
        return logits.masked_fill_(distance > nearest.values.gather(1, ranks), NOTHING)


# In this order, after the temperature; it is vLLM's, with typical_p last as in Hugging Face's.
FILTERS: tuple[type[Filter], ...] = (MinP, TopK, TopP, TypicalP)
