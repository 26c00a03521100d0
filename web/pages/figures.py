"""How numbers, sizes and times are written on pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from markupsafe import Markup

from web.pages.language import _

UNITS = ("B", "kB", "MB", "GB", "TB")


def install(app: Flask) -> None:
    """As filters of templates."""
    app.jinja_env.filters.update(
        number=number,
        size=size,
        duration=duration,
        moment=moment,
        decimals=decimals,
        iso=iso,
        clock=clock,
        with_code=with_code,
    )


def with_code(text: str) -> Markup:
    """A sentence in which what stands between backticks is code."""
    pieces = text.split("`")
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(each) if at % 2 else each for at, each in enumerate(pieces))


def number(value: float | None) -> str:
    """With separators between thousands; a dash for nothing."""
    return "–" if value is None else f"{value:,.0f}"


def decimals(value: float | None, places: int = 3) -> str:
    """With so many places behind the point; a dash for nothing."""
    return "–" if value is None else f"{value:,.{places}f}"


def size(value: float) -> str:
    """Bytes, in the unit that leaves one to three digits before the point."""
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def duration(seconds: float | None) -> str:
    """As people say it; a dash for nothing."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return _("%(seconds)s s") % {"seconds": whole}
    if whole < 3600:
        return _("%(minutes)s min %(seconds)s s") % {
            "minutes": whole // 60,
            "seconds": f"{whole % 60:02d}",
        }
    return _("%(hours)s h %(minutes)s min") % {
        "hours": whole // 3600,
        "minutes": f"{whole % 3600 // 60:02d}",
    }


def moment(seconds: float | None) -> Markup | str:
    """A time of day and date in UTC, which a script writes in the reader's own zone."""
    if seconds is None:
        return "–"
    at = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        iso(seconds), at.strftime("%Y-%m-%d %H:%M")
    )


def iso(seconds: float) -> str:
    """A time as machines read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def clock(seconds: float) -> str:
    """The time of day in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def share_done(progress: Mapping[str, Any]) -> float | None:
    """How much of a job is done, 0 to 1; None where nobody knows."""
    counts = progress.get("request_counts")
    if counts is not None:
        total, now = counts["total"], counts["completed"] + counts["failed"]
    else:
        total = progress.get("total_steps", progress.get("total"))
        now = progress.get("step", progress.get("done"))
    return min(1.0, now / total) if total and now is not None else None
