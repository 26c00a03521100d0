"""The temperatures of all rows: one each, or a list whose values take turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.options import LONGEST_SCHEDULE, SamplingOptions

GREEDY_BELOW = 1e-5  # temperatures where a division would only overflow


class Temperatures:
    """Those of up to ``capacity`` rows."""

    def __init__(self, capacity: int) -> None:
        self._schedules = np.ones((capacity, LONGEST_SCHEDULE), np.float32)
        self._lengths = np.ones(capacity, np.int64)

    def set(self, row: int, options: SamplingOptions) -> None:
        """Take a row's options."""
        given = options.temperatures
        self._schedules[row, : len(given)] = given
        self._lengths[row] = len(given)

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        self._schedules[target] = self._schedules[source]
        self._lengths[target] = self._lengths[source]

    def users(self, rows: int, device: torch.device) -> TemperatureUsers:
        """Those of the first ``rows`` rows."""
        lengths = self._lengths[:rows]
        if (lengths == 1).all():
            return TemperatureUsers(device, _heat(self._schedules[:rows, 0], device))
        return TemperatureUsers(device, None, self._schedules[:rows].copy(), lengths.copy())


@dataclass(frozen=True, slots=True)
class Heat:
    """Of one step: ``divisors`` (R, 1), None if all are 1; ``greedy`` (R,), None if no row is."""

    divisors: Tensor | None
    greedy: Tensor | None
    all_greedy: bool


@dataclass(frozen=True, slots=True)
class TemperatureUsers:
    """The temperatures of R rows: ``constant`` ones, or schedules (R, S) with their lengths."""

    device: torch.device
    constant: Heat | None
    schedules: npt.NDArray[np.float32] | None = None
    lengths: npt.NDArray[np.int64] | None = None

    def at(self, positions: npt.NDArray[np.uint64]) -> Heat:
        """Those of the tokens at ``positions`` (R,)."""
        if self.constant is not None:
            return self.constant
        assert self.schedules is not None and self.lengths is not None  # noqa: S101
        turns = positions.astype(np.int64) % self.lengths
        return _heat(self.schedules[np.arange(len(turns)), turns], self.device)


def _heat(temperatures: npt.NDArray[np.float32], device: torch.device) -> Heat:
    greedy = temperatures < GREEDY_BELOW
    divisors = np.where(greedy, np.float32(1), temperatures)[:, None]
    return Heat(
        torch.from_numpy(divisors).to(device) if (divisors != 1).any() else None,
        torch.from_numpy(greedy).to(device) if greedy.any() else None,
        bool(greedy.all()),
    )
