"""Cross-entropy of an output layer, without keeping its logits.

Logits of N tokens over V symbols and their gradient are N·V numbers each; at 33,000 symbols that
is most of a training's memory and time. Here they live for one block of rows at a time: the
gradients of the layer's inputs and weights are made in the forward pass, while the block is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_LOGITS = 1 << 24  # at most so many at a time


@dataclass(frozen=True, slots=True)
class OutputLoss:
    """``total`` nats over ``count`` targets, with a gradient; ``right``: those rightly guessed."""

    total: Tensor
    right: Tensor
    count: int

    @property
    def mean(self) -> Tensor:
        """Nats per target; 0 where there are none."""
        return self.total / max(self.count, 1)


def output_loss(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> OutputLoss:
    """The loss of logits = features·weightᵀ + bias, the same as torch's cross-entropy, summed.

    ``features`` (N, H), ``weight`` (V, H), ``bias`` (V,), ``targets`` (N,) int64, all of which
    count. A target as likely as the likeliest counts as right. No second derivatives.
    """
    total, right = _OutputLoss.apply(features, weight, bias, targets)  # type: ignore[no-untyped-call]
    return OutputLoss(total, right, len(targets))


class _OutputLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        total, right = features.new_zeros(()), targets.new_zeros(())
        found: list[Tensor] = []  # gradients of the features, block by block
        for_weight, for_bias = None, torch.zeros_like(bias)
        rows = max(1, _LOGITS // len(weight))
        for start in range(0, len(features), rows):
            x, y = features[start : start + rows], targets[start : start + rows, None]
            logits = linear(x, weight, bias)  # (n, V)
            chosen, top = logits.gather(1, y), logits.amax(1, keepdim=True)
            probabilities = functional.softmax(logits, dim=1)
            # log Σ exp = top - log(its probability), which is at least 1/V
            total += (top - probabilities.amax(1, keepdim=True).log() - chosen).sum()
            right += (chosen == top).sum()
            error = probabilities.scatter_add_(1, y, -torch.ones_like(chosen))  # d loss/d logits
            found.append(linear(error, weight.t()))
            part = _outer(error, x)
            for_weight = part if for_weight is None else for_weight.add_(part)
            for_bias += error.sum(0)
        for_features = found[0] if len(found) == 1 else torch.cat([features[:0], *found])
        if for_weight is None:
            for_weight = torch.zeros_like(weight)
        ctx.save_for_backward(for_features, for_weight, for_bias)
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *(upstream * gradient for gradient in ctx.saved_tensors), None


def _outer(error: Tensor, x: Tensor) -> Tensor:
    """errorᵀ·x (V, H), for error (n, V) and x (n, H); the narrower of them is copied for it."""
    if error.shape[1] > x.shape[1]:
        return linear(x.t(), error.t()).t()
    return linear(error.t(), x.t())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·weightᵀ + bias (n, V), for x (n, H) and weight (V, H).

    By oneDNN where that is switched on (``use_kernel``): on AMD's processors its products take
    half the time of MKL's, which torch uses for all but convolutions and recurrent layers.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch._C._get_mkldnn_enabled():
        product = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
        if product is not None and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            found: Tensor = product(x, weight, bias, "none", [], "")
            return found
    return functional.linear(x, weight, bias)
