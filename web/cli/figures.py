"""Figures of a result as lines of a table: a name in words, a value that fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from web.cli.language import _, named

SHOWN = 60  # characters of a text in the table
CHOICES = ("origin", "rows", "position_unit")  # figures that are one of a few words


def figures(summary: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Each figure of a summary that there is, with its name in words."""
    for name, value in summary.items():
        if value is None:
            continue
        words = named(name).replace("_", " ")
        words = _("%(part)s %(measure)s") % {"part": within, "measure": words} if within else words
        if isinstance(value, Mapping):
            if name != "missing":
                yield from figures(value, words)
        else:
            yield words, _shown(named(value) if name in CHOICES else value)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    line = ", ".join(map(str, value)) if isinstance(value, list) else " ".join(str(value).split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
