"""Rows that ask for nothing but a temperature, as a kernel that draws by itself sees them."""

from __future__ import annotations

import numpy as np


class PlainDraws:
    """R = ``capacity`` rows, V = ``columns`` of the logits; arrays that stay where they are.

    rows: (R,) whether a row is drawn so · heat: (R,) temperatures, 0 for the likeliest token ·
    keys, positions: (R,) of the random numbers · drawable: (V,) tokens that may come · stops: (V,)
    tokens after which a row may be at its end.
    """

    def __init__(self, capacity: int, columns: int) -> None:
        self.rows = np.zeros(capacity, np.bool_)
        self.heat = np.ones(capacity, np.float32)
        self.keys = np.zeros(capacity, np.uint64)
        self.positions = np.zeros(capacity, np.uint64)
        self.drawable = np.ones(columns, np.bool_)
        self.stops = np.zeros(columns, np.bool_)

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        for each in (self.rows, self.heat, self.keys, self.positions):
            each[target] = each[source]
