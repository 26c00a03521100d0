"""The C++ kernel as ctypes sees it; structures and calls as in ``native/step.cpp``."""

from __future__ import annotations

import ctypes
import logging
from ctypes import POINTER, Structure, c_double, c_int32, c_int64, c_void_p
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from textgen.engine.kernels.build import able_sets, find_or_build

LOG = logging.getLogger(__name__)

Call = Any  # a function of ctypes, whose arguments are checked by their ``argtypes``


class CMatrix(Structure):
    """Weights (inputs, columns) in panels; ``scales`` is null for float32."""

    _fields_ = (
        ("weights", c_void_p),
        ("scales", c_void_p),
        ("offsets", c_void_p),
        ("inputs", c_int64),
    )


class CLayer(Structure):
    """One LSTM layer, and the normalization after it."""

    _fields_ = (
        ("input", CMatrix),
        ("hidden", CMatrix),
        ("bias", c_void_p),
        ("norm_scale", c_void_p),
        ("norm_shift", c_void_p),
    )


class CModel(Structure):
    """The whole model."""

    _fields_ = (
        ("layers", c_int64),
        ("hidden", c_int64),
        ("columns", c_int64),
        ("width", c_int64),
        ("residual", c_int64),
        ("table", c_void_p),
        ("embedding", c_void_p),
        ("layer", POINTER(CLayer)),
        ("head", CMatrix),
        ("head_bias", c_void_p),
    )


class CScratch(Structure):
    """Memory that a call uses and leaves."""

    _fields_ = (
        ("hidden", c_void_p),
        ("inputs", c_void_p),
        ("gates", c_void_p),
        ("bytes", c_void_p),
        ("scales", c_void_p),
        ("capacity", c_int64),
        ("widest", c_int64),
    )


class CDraws(Structure):
    """See `textgen.engine.plain_draws.PlainDraws`; ``chances`` is scratch (R, V)."""

    _fields_ = (
        ("rows", c_void_p),
        ("heat", c_void_p),
        ("keys", c_void_p),
        ("positions", c_void_p),
        ("drawable", c_void_p),
        ("stops", c_void_p),
        ("chances", c_void_p),
    )


class Library:
    """A loaded build: ``lanes`` float32 numbers a vector, and the calls."""

    def __init__(self, path: str, instructions: str) -> None:
        library = ctypes.CDLL(path)  # a call lets other Python threads run
        self.instructions = instructions
        self.lanes = int(library.textgen_lanes())
        self._pool = library.textgen_pool
        self._pool.argtypes, self._pool.restype = [c_int32], c_void_p
        self._pools: dict[int, int] = {}
        self.step: Call = library.textgen_step
        self.step.argtypes = [c_void_p] * 6 + [c_int64, c_void_p, c_int64]
        self.step.restype = None
        self.burst: Call = library.textgen_burst
        addresses = [c_void_p] * 7
        self.burst.argtypes = [*addresses, c_int64, c_void_p, c_void_p, c_int64, c_int64, c_double]
        self.burst.restype = c_int64
        self.read: Call = library.textgen_read
        self.read.argtypes = [c_void_p] * 5 + [c_int64, c_void_p, c_int64, c_void_p, c_int64]
        self.read.restype = None

    def pool(self, threads: int) -> int:
        """Threads that stay for the life of the process, shared by all models."""
        if threads not in self._pools:
            self._pools[threads] = self._pool(threads)
        return self._pools[threads]


@lru_cache(maxsize=8)
def load(instructions: str | None = None) -> Library | None:
    """The library for an instruction set, by default the best of this machine; None without one.

    An older compiler may not know the newest set, so the next one is tried.
    """
    for name in able_sets() if instructions is None else [instructions]:
        path = find_or_build(name)
        if path is None:
            continue
        try:
            return Library(str(path), name)
        except OSError as error:
            LOG.warning("the engine's kernel %s cannot be loaded: %s", path, error)
    return None


def pointer(tensor: Tensor | None) -> int | None:
    """Where a contiguous CPU tensor lies; its owner must keep it alive."""
    if tensor is None:
        return None
    if tensor.device != torch.device("cpu") or not tensor.is_contiguous():
        raise ValueError("the kernel takes contiguous tensors on the CPU")
    return tensor.data_ptr()
