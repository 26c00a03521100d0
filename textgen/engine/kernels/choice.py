"""Which kernel an engine takes: the native one where it can be had and passes its check."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch

from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.int8_loss import LARGEST_LOSS, METRIC, int8_loss_difference
from textgen.engine.kernels.kernel import Kernel, KernelName, Weights
from textgen.engine.kernels.library import load
from textgen.engine.kernels.native import NativeKernel
from textgen.engine.kernels.row_plan import RowPlan
from textgen.engine.kernels.torch_kernel import TorchKernel
from textgen.engine.kernels.torch_rows import TorchRows
from textgen.errors import InvalidOption
from textgen.model import TextGenerator
from textgen.options import Auto

LOG = logging.getLogger(__name__)

_TOLERANCE = 1e-4  # of the check, far above what the order of a sum does and far below a mistake


def choose_kernel(
    model: FoldedModel,
    wanted: KernelName | Auto = "auto",
    weights: Weights = "float32",
    threads: int | None = None,
) -> Kernel:
    """The kernel for a model; ``auto`` is the native one, or torch's where that is not to be had.

    ``threads`` are the native kernel's, by default as many as torch's.

    InvalidOption where "native" or int8 is asked for and this machine cannot have it.
    """
    native = (
        _native(model, weights, threads or torch.get_num_threads()) if wanted != "torch" else None
    )
    if native is not None:
        return native
    if weights == "int8":
        raise InvalidOption(
            "'weights' is 'int8', which only the engine's kernel in C++ computes with, and this "
            "engine has none. Install a C++ compiler (Debian and Ubuntu: apt install g++) on a "
            "machine with AVX2, or leave 'weights' out.",
            param="weights",
        )
    if wanted == "native":
        raise InvalidOption(
            "'kernel' is 'native', which needs Linux or macOS, a processor with AVX2 and, the "
            "first time, a C++ compiler. Leave it out: the engine then computes with torch.",
            param="kernel",
        )
    return TorchKernel(model)


def check_int8(model: TextGenerator, metrics: Mapping[str, float | None]) -> None:
    """InvalidOption ``int8_loses_too_much`` for a model that int8 weights make too much worse.

    What its training measured stands in ``metrics``; else it is measured on drawn text.
    """
    loss = metrics.get(METRIC)
    if loss is None:
        loss = int8_loss_difference(model)
    if loss is not None and not loss <= LARGEST_LOSS:
        raise InvalidOption(
            f"'weights' is 'int8', which makes this model worse by {loss:.4f} nats a token; up to "
            f"{LARGEST_LOSS} are allowed. Leave 'weights' out.",
            code="int8_loses_too_much",
            param="weights",
        )


def _native(model: FoldedModel, weights: Weights, threads: int) -> NativeKernel | None:
    library = load() if model.device.type == "cpu" else None
    if library is None:
        return None
    kernel = NativeKernel(model, library, threads)
    difference = _difference(model, kernel)
    if not difference < _TOLERANCE:
        LOG.error("the engine's kernel is off by %.2g and not used; please report this", difference)
        return None
    return kernel if weights == "float32" else NativeKernel(model, library, threads, weights)


@torch.inference_mode()
def _difference(model: FoldedModel, kernel: NativeKernel) -> float:
    """How far the logits are from torch's, at most, over some steps of some rows."""
    count, steps = 7, 3
    rows, reference = kernel.rows(count), TorchRows(model, RowPlan([count]), count)
    tokens = np.random.default_rng(0).integers(0, model.vocab_size, (steps, count))
    worst = 0.0
    for each in tokens:
        for side in (rows, reference):
            side.state.tokens[:count] = torch.from_numpy(each)
        ours, theirs = rows.step(count), reference.step(count)
        differences = (ours - theirs)[:, theirs[0].isfinite()].abs()
        if not bool((ours.isfinite() == theirs.isfinite()).all()):
            return float("inf")
        worst = max(worst, float(differences.max()))
    return worst
