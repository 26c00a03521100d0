"""The price sheet: what a unit of each kind of work costs, by currency and from which day on.

Prices are linear, so the cost of a sum is the sum of the costs. A price holds for usage from
midnight (UTC) of ``valid_from`` on, until a later list of the same currency takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from textgen.options import Options
from worker.usage.quantities import Quantities, UsageKind

Price = Annotated[Decimal, Field(ge=0, le=Decimal("1e9"), max_digits=20)]
ZERO = Decimal(0)
# A unit of the sheet: which quantity it counts, and how much of it makes one.
UNITS: Mapping[str, tuple[str, Decimal]] = {
    "thousand_requests": ("requests", Decimal(1000)),
    "million_characters_in": ("characters_in", Decimal(10) ** 6),
    "million_characters_out": ("characters_out", Decimal(10) ** 6),
    "million_tokens_in": ("tokens_in", Decimal(10) ** 6),
    "million_tokens_out": ("tokens_out", Decimal(10) ** 6),
    "compute_hour": ("compute_seconds", Decimal(3600)),
    "gigabyte_month": ("byte_hours", Decimal(10) ** 9 * 730),
}


class KindPrices(Options):
    """Prices of one kind of work; what has none is free."""

    thousand_requests: Price = ZERO
    million_characters_in: Price = ZERO
    million_characters_out: Price = ZERO
    million_tokens_in: Price = ZERO
    million_tokens_out: Price = ZERO
    compute_hour: Price = ZERO
    gigabyte_month: Price = ZERO


class PriceList(Options):
    """All prices in one currency, from one day on."""

    currency: str = Field(pattern="^[A-Z]{3}$")
    valid_from: date
    completions: KindPrices = KindPrices()
    batches: KindPrices = KindPrices()
    trainings: KindPrices = KindPrices()
    scorings: KindPrices = KindPrices()
    evaluations: KindPrices = KindPrices()
    examinations: KindPrices = KindPrices()
    storage: KindPrices = KindPrices()

    @property
    def starts_at(self) -> float:
        """Seconds since 1970."""
        day = self.valid_from
        return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Line:
    """One position of a bill."""

    kind: str
    unit: str
    quantity: Decimal  # in units of the sheet
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Prices:
    """Every price list there is."""

    lists: Sequence[PriceList] = ()

    def periods(self, currency: str, start: float, end: float) -> Iterator[tuple[float, float]]:
        """The span in pieces in each of which no price changes."""
        changes = {each.starts_at for each in self.lists if each.currency == currency}
        bounds = [start, *sorted(at for at in changes if start < at < end), end]
        yield from pairwise(bounds)

    def lines(
        self, currency: str, kind: UsageKind, quantities: Quantities, at: float
    ) -> list[Line]:
        """What these quantities cost at a time; positions that cost nothing are left out."""
        valid = self._valid(currency, at)
        if valid is None:
            return []
        prices: KindPrices = getattr(valid, kind)
        lines = []
        for unit, (name, size) in UNITS.items():
            price: Decimal = getattr(prices, unit)
            quantity = Decimal(str(getattr(quantities, name))) / size
            if price and quantity:
                lines.append(Line(kind, unit, quantity, price, price * quantity))
        return lines

    def cost(self, currency: str, kind: UsageKind, quantities: Quantities, at: float) -> Decimal:
        """The sum of the lines."""
        return sum((line.amount for line in self.lines(currency, kind, quantities, at)), ZERO)

    def _valid(self, currency: str, at: float) -> PriceList | None:
        valid = [each for each in self.lists if each.currency == currency and each.starts_at <= at]
        return max(valid, key=lambda each: each.valid_from, default=None)
