"""The operator's file of plans and prices (TOML), read once a process.

[plans.free]
requests_per_minute = 60
running_jobs = 1

[[prices]]
currency = "USD"
valid_from = 2026-01-01
trainings.compute_hour = "0.50"
completions.million_characters_out = "2.00"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textgen.errors import InvalidOption
from worker.billing.prices import PriceList, Prices
from worker.errors import InvalidSetting
from worker.tenants.options import Limits
from worker.tenants.plans import Plans

SETTING = "TEXTGEN_PLANS_FILE"


@dataclass(frozen=True)
class Terms:
    """What the file says; without one nobody is limited and nothing costs."""

    plans: Plans = field(default_factory=Plans)
    prices: Prices = field(default_factory=Prices)


def load_terms(path: Path | None) -> Terms:
    """Read and check the file; raises InvalidSetting naming what is wrong in it."""
    if path is None:
        return Terms()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=str)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, f"cannot be read: {error}") from None
    unknown = sorted(set(content) - {"plans", "prices"})
    if unknown:
        raise _wrong(path, f"has {unknown[0]!r}; it may have 'plans' and 'prices'")
    try:
        return Terms(_plans(content.get("plans", {})), _prices(content.get("prices", [])))
    except InvalidOption as error:
        raise _wrong(path, error.message) from None


def _plans(found: Any) -> Plans:
    if not isinstance(found, Mapping) or not all(isinstance(v, Mapping) for v in found.values()):
        raise InvalidOption("'plans' must be tables, such as [plans.free].", param="plans")
    return Plans({n: Limits.parse(values, within=f"plans.{n}") for n, values in found.items()})


def _prices(found: Any) -> Prices:
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise InvalidOption("'prices' must be a list: write [[prices]].", param="prices")
    lists = [
        PriceList.parse(values, within=f"prices[{place}]") for place, values in enumerate(found)
    ]
    seen = {(each.currency, each.valid_from) for each in lists}
    if len(seen) < len(lists):
        raise InvalidOption(
            "Two of 'prices' have the same currency and valid_from.", param="prices"
        )
    return Prices(lists)


def _wrong(path: Path, what: str) -> InvalidSetting:
    return InvalidSetting(f"{SETTING} is {str(path)!r}: {what}", param=SETTING)
