"""Weights in the order in which the C++ kernel reads them.

A panel holds 4 · lanes columns of a matrix, input by input: of the gates the four of ``lanes``
units, so that a panel's sums make whole cells; of the head columns side by side. Panels follow
each other, so that every weight is read once and in one direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from textgen.engine.kernels.kernel import Weights
from textgen.engine.kernels.library import CMatrix, pointer

_LARGEST_BYTE = 127


@dataclass(frozen=True)
class PackedMatrix:
    """Panels (P, K, 4 · lanes) of float32; or of bytes, four inputs of a column side by side."""

    weights: Tensor
    scales: Tensor | None = None  # (P · 4 · lanes) of bytes: what one is worth
    offsets: Tensor | None = None  # -128 · the sum of a column's bytes
    inputs: int = 0

    def as_c(self) -> CMatrix:
        """The structure for the kernel, which must not outlive this."""
        return CMatrix(
            pointer(self.weights), pointer(self.scales), pointer(self.offsets), self.inputs
        )


def pack_gates(weights: Tensor, lanes: int, kind: Weights) -> PackedMatrix:
    """(K, 4H), the gates one after the other, H a multiple of ``lanes``."""
    inputs, columns = weights.shape
    units = columns // 4
    panels = weights.view(inputs, 4, units // lanes, lanes).permute(2, 0, 1, 3)
    return _packed(panels.reshape(units // lanes, inputs, 4 * lanes), kind)


def pack_columns(weights: Tensor, lanes: int, kind: Weights) -> PackedMatrix:
    """(K, C); the last panel is filled up with zeros."""
    width = 4 * lanes
    weights = functional.pad(weights, (0, -weights.shape[1] % width))
    panels = weights.view(len(weights), -1, width).permute(1, 0, 2)
    return _packed(panels, kind)


def _packed(panels: Tensor, kind: Weights) -> PackedMatrix:
    if kind == "float32":
        return PackedMatrix(panels.contiguous(), inputs=panels.shape[1])
    count, inputs, width = panels.shape
    scales = panels.abs().amax(1) / _LARGEST_BYTE  # (P, width): one a column
    whole = (panels / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round()
    offsets = -128 * whole.to(torch.int32).sum(1, dtype=torch.int32)
    fours = whole.to(torch.int8).view(count, inputs // 4, 4, width).transpose(2, 3)
    return PackedMatrix(
        fours.contiguous(), scales.flatten().contiguous(), offsets.flatten().contiguous(), inputs
    )
