"""How much memory an object's arrays take: an engine's weights, tables, slots and buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

PACKAGE = "textgen"  # whose objects are looked into


def held_bytes(root: object) -> int:
    """Bytes of all tensors and arrays that are reached from ``root``, each memory once."""
    sizes: dict[int, int] = {}  # by address
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, np.ndarray):
            owner = value
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            sizes[owner.ctypes.data] = owner.nbytes
        else:
            waiting += _parts(value)
    return sum(sizes.values())


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    kind = type(value)
    if not (kind.__module__.partition(".")[0] == PACKAGE or isinstance(value, torch.nn.Module)):
        return []
    names = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    found = [getattr(value, name) for name in names if hasattr(value, name)]
    return found + list(getattr(value, "__dict__", {}).values())
