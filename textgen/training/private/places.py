"""Places in a network with weights of their own, and what they tell of each document's gradient.

``out`` (B, T, O) is what the place gives out; its slope is the derivative of the loss there. The
gradient of one document is a sum over its tokens, and the square of its norm a sum over pairs of
tokens, so that no gradient of a document has to be made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# Added to a square for each unit of what was added up for it: single precision may come out a
# little short, and a norm must not.
_ROUNDING = 2.0**-16


class Place(Protocol):
    """What every place can tell."""

    @property
    def out(self) -> Tensor:
        """What it gives out, in the graph of autograd."""

    def squares(self, slope: Tensor) -> Tensor:
        """Of each document (B,): the square of the norm of its gradient, never too small."""

    def weighted_sums(self, slope: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """By parameter: the documents' gradients times ``weights`` (B,), added."""


@dataclass(frozen=True)
class Affine:
    """Σ x W^T + Σ b: what came in, by the name of its matrix, and the names of the biases."""

    inputs: Mapping[str, Tensor]  # each (B, T, I)
    biases: Sequence[str]
    out: Tensor

    def squares(self, slope: Tensor) -> Tensor:
        """The matrices' and the biases', by products of pairs of tokens."""
        products = sum((each @ each.mT for each in self.inputs.values()), start=slope.new_zeros(()))
        return _summed(slope @ slope.mT, products + len(self.biases))

    def weighted_sums(self, slope: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """One matrix product a matrix."""
        slope = (slope * weights[:, None, None]).flatten(0, 1)  # (B · T, O)
        sums = {name: slope.t() @ each.flatten(0, 1) for name, each in self.inputs.items()}
        return sums | dict.fromkeys(self.biases, slope.sum(0))


@dataclass(frozen=True)
class Scale:
    """x · w + b, number by number; ``inputs`` (B, T, O)."""

    weight: str
    bias: str
    inputs: Tensor
    out: Tensor

    def squares(self, slope: Tensor) -> Tensor:
        """Gradients of vectors are small enough to be made."""
        both = torch.cat([(slope * self.inputs).sum(1), slope.sum(1)], 1)  # (B, 2 · O)
        return both.square().sum(1)

    def weighted_sums(self, slope: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Of the weight and the bias."""
        slope = slope * weights[:, None, None]
        return {self.weight: (slope * self.inputs).sum((0, 1)), self.bias: slope.sum((0, 1))}


@dataclass(frozen=True)
class Lookup:
    """Row ``ids`` (B, T) of a matrix (V, O)."""

    weight: str
    ids: Tensor
    rows: int
    out: Tensor

    def squares(self, slope: Tensor) -> Tensor:
        """Only tokens that are the same meet in a row."""
        same = self.ids[:, :, None] == self.ids[:, None, :]  # (B, T, T)
        return _summed(slope @ slope.mT, same)

    def weighted_sums(self, slope: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Each token's slope added to its row."""
        slope = (slope * weights[:, None, None]).flatten(0, 1)
        total = slope.new_zeros(self.rows, slope.shape[1])
        return {self.weight: total.index_add_(0, self.ids.flatten(), slope)}


def tied_products(lookup: Lookup, low: Tensor, output: Affine, high: Tensor) -> Tensor:
    """What the square of a sum has beside the two squares, where both have the same matrix (B,)."""
    (inputs,) = output.inputs.values()
    ids = lookup.ids[:, :, None].expand(-1, -1, high.shape[1])  # (B, T, T)
    chosen = high.mT.gather(1, ids)  # the slope at each token's symbol
    return 2 * _summed(chosen, low @ inputs.mT)


def _summed(left: Tensor, right: Tensor) -> Tensor:
    """Σ left · right (B, T, T) over both tokens, with room for rounding (B,)."""
    products = left * right
    return products.sum((1, 2)) + _ROUNDING * products.abs().sum((1, 2))
