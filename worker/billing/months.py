"""Months as a tenant's calendar has them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from textgen.errors import InvalidOption

_FORM = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")


def month_of(at: float, time_zone: str) -> str:
    """The month, such as 2026-11, that a time falls into."""
    return datetime.fromtimestamp(at, ZoneInfo(time_zone)).strftime("%Y-%m")


def month_after(month: str) -> str:
    """The one that follows a month such as 2026-11."""
    year, number = map(int, month.split("-"))
    return f"{year + number // 12}-{number % 12 + 1:02}"


def bounds(month: str, time_zone: str) -> tuple[float, float]:
    """Its first moment and that of the next one, seconds since 1970; raises InvalidOption."""
    form = _FORM.fullmatch(month)
    if form is None:
        raise InvalidOption(f"'month' is {month!r}: write it as 2026-11.", param="month")
    year, number = int(form[1]), int(form[2])
    zone = ZoneInfo(time_zone)
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    first, following = (datetime(*each, 1, tzinfo=zone) for each in ((year, number), after))
    return first.astimezone(UTC).timestamp(), following.astimezone(UTC).timestamp()
