"""What the page of usage shows of quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from worker.usage.quantities import Quantities


def neighbours(month: str) -> tuple[str, str]:
    """The months before and after one such as 2026-11."""
    first = date.fromisoformat(f"{month}-01")
    before, after = first - timedelta(days=1), first + timedelta(days=31)
    return f"{before:%Y-%m}", f"{after:%Y-%m}"


def amounts(used: Quantities, hours: float) -> Mapping[str, Sequence[float]]:
    """What the charts show of quantities of so many hours: one or two amounts a measure."""
    return {
        "characters": (used.characters_in, used.characters_out),
        "tokens": (used.tokens_in, used.tokens_out),
        "compute": (used.compute_seconds,),
        "stored": (used.byte_hours / hours if hours else 0.0,),
        "requests": (used.requests,),
    }
