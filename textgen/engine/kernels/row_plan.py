"""How many rows go through the model at once, so that a row's bits do not depend on it.

A matrix product of 1 row takes another path through the library than one of 2, 4 or 200, and may
add up in another order; a text would then depend on what runs beside it. Rows are therefore
padded to one of a few sizes that agree (`textgen.engine.kernels.row_measurement` finds them), and
what exceeds the largest goes in blocks.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blocks:
    """What blocks are worth trying on a device, and what one costs there."""

    sizes: tuple[int, ...]
    fixed_cost: int  # of a block, in rows: its weights are read, its kernels are started

    @property
    def largest(self) -> int:
        """Rows."""
        return self.sizes[-1]


def cpu_blocks(threads: int) -> Blocks:
    """Of a CPU.

    Pointwise operations are cut into equal shares, one a thread; multiples of the number of
    threads let every share end with a row.
    """
    stride = math.lcm(8, threads)
    return Blocks(tuple(sorted({1, 2, 4, 8, 12, *range(stride, 129, stride)})), fixed_cost=16)


# Up to some hundred rows a GPU takes as long as for one, and each size is a graph to be recorded.
GPU_BLOCKS = Blocks(tuple(2**power for power in range(12)), fixed_cost=256)


class RowPlan:
    """Cuts any number of rows into blocks of ``sizes``."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sorted(sizes)
        self.largest = self.sizes[-1]

    def padded(self, rows: int) -> int:
        """The smallest size that holds ``rows``, which must be at most ``largest``."""
        return self.sizes[bisect_left(self.sizes, rows)]

    def blocks(self, rows: int) -> list[tuple[int, int]]:
        """(first row, size) of each block; the last may reach beyond ``rows``."""
        full = max(rows - 1, 0) // self.largest * self.largest
        blocks = [(start, self.largest) for start in range(0, full, self.largest)]
        if rows > full:
            blocks.append((full, self.padded(rows - full)))
        return blocks

    def capacity(self, rows: int) -> int:
        """Rows that a buffer needs so that every number up to ``rows`` fits with its padding."""
        return sum(size for _, size in self.blocks(rows))

    def slowness(self, blocks: Blocks) -> float:
        """How much longer than unpadded steps these blocks take, small numbers of rows first.

        The mean over 1 … ``blocks.largest`` rows, each weighted with 1 / rows: as much for 1 to 2
        rows as for 64 to 128.
        """
        total = weights = 0.0
        for rows in range(1, blocks.largest + 1):
            taken = sum(blocks.fixed_cost + size for _, size in self.blocks(rows))
            total += taken / (blocks.fixed_cost + rows) / rows
            weights += 1 / rows
        return total / weights
