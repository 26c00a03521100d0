"""A few symbols that stand for a large vocabulary in the softmax of one training step.

The softmax's denominator is a sum over all symbols. Here the commonest are in it, and all that
the step has to predict; a random sample of the others stands for these, each for as many as there
are to one drawn. So the sum is right on average whatever is drawn (importance sampling as in
Bengio and Senécal 2008, with a uniform proposal within a stratum).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.tokenizers import Ids
from textgen.training.frequencies import token_counts

_SEED = 0x5A3C  # apart from other numbers drawn by the plan's seed


@dataclass(frozen=True, slots=True)
class Classes:
    """Of one step: K symbols."""

    ids: Tensor  # (K,) int64, each once
    shift: Tensor  # (K,) float32, to be added to their logits
    targets: Tensor  # (N,) int64, the place in ``ids`` of each


def only(ids: Tensor, targets: Tensor) -> Classes:
    """``ids`` (K,), ascending, where nothing else can come; ``targets`` (N,) are among them."""
    return Classes(ids, torch.zeros(len(ids)), torch.searchsorted(ids, targets))


class SampledClasses:
    """Chooses symbols for each step: ``size`` and what the step has to predict.

    Half of the ``size`` are the commonest of ``tokens``, the others are drawn anew for each step,
    by ``seed`` and the step's number alone.
    """

    def __init__(self, tokens: Ids, vocab_size: int, size: int, seed: int) -> None:
        common = np.argsort(-token_counts(tokens, vocab_size), kind="stable")[: size // 2]
        self._common = common
        self._drawn = size - len(common)
        self._seed = seed
        self._places: npt.NDArray[np.int64] = np.full(vocab_size, -1)
        self._places[common] = np.arange(len(common))

    def choose(self, targets: Tensor, step: int) -> Classes:
        """For a step that predicts ``targets`` (N,) int64 on the CPU."""
        wanted = targets.numpy()
        places = self._places.copy()
        rare = np.unique(wanted[places[wanted] < 0])
        places[rare] = len(self._common) + np.arange(len(rare))
        others = np.flatnonzero(places < 0)
        random = np.random.default_rng([_SEED, self._seed, step])
        drawn = random.choice(others, min(self._drawn, len(others)), replace=False)
        shift = torch.zeros(len(self._common) + len(rare) + len(drawn))
        if len(drawn):
            shift[-len(drawn) :] = float(np.log(len(others) / len(drawn)))
        ids = np.concatenate([self._common, rare, drawn])
        return Classes(torch.from_numpy(ids), shift, torch.from_numpy(places[wanted]))
