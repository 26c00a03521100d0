"""How far a child's work is, and how long the rest will take."""

from __future__ import annotations

import time
from typing import Any


class Pace:
    """Counts what is done of a known number of things."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._done = self._before = 0
        self._began = time.monotonic()

    def skip(self, count: int) -> None:
        """Note what was done before: it says nothing about the rate of now."""
        self._done += count
        self._before = self._done
        self._began = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Note what is done."""
        self._done += count

    def as_progress(self) -> dict[str, Any]:
        """As progress events say it; rate and seconds are None before the first is done."""
        now, here = self._done, self._done - self._before
        rate = here / max(time.monotonic() - self._began, 1e-9) if here else None
        return {
            "done": now,
            "total": self._total,
            "unit": self._unit,
            "rate": rate,
            "seconds_left": None if rate is None else (self._total - now) / rate,
        }
