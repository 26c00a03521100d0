"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from web.cli.language import _

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people."
)


def notes() -> Console:
    """Where progress and remarks go, so that results can be piped away from them."""
    return Console(stderr=True, markup=False, highlight=False)


def piped() -> bool:
    """Whether standard output is for another program: what helps to type goes elsewhere then."""
    return not sys.stdout.isatty()


def print_json(value: Any) -> None:
    """Print a result for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Print rows under headings on standard output, or the sentence ``empty``."""
    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headings))
    for place, heading in enumerate(headings):
        # The first column is an id or a name, to be copied whole.
        table.add_column(heading, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    results().print(table)


def results() -> Console:
    """Standard output; piped into another program, a line stays a line."""
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=400)


def ago(seconds: float | None, now: float | None = None) -> str:
    """How long ago a time (seconds since 1970) was, in the largest unit that fits."""
    if seconds is None:
        return ""
    length = (time.time() if now is None else now) - seconds
    return _("%(time)s ago") % {"time": span(length)}


def span(seconds: float) -> str:
    """A length of time in words: 45 s, 3 min 20 s, 2 h 5 min, 4 d."""
    whole = max(0, round(seconds))
    if whole < 60:
        return _("%(seconds)s s") % {"seconds": whole}
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        told = _("%(minutes)s min %(seconds)s s") if rest else _("%(minutes)s min")
        return told % {"minutes": minutes, "seconds": rest}
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        told = _("%(hours)s h %(minutes)s min") if minutes else _("%(hours)s h")
        return told % {"hours": hours, "minutes": minutes}
    return _("%(days)s d") % {"days": hours // 24}


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
