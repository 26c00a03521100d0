"""Pieces of a page and how figures are written; every text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    head = "".join(f'<th scope="col" align="left">{escape(each)}</th>' for each in heads)
    body = "".join(
        "<tr>" + "".join(f'<td valign="top">{lines(cell)}</td>' for cell in row) + "</tr>\n"
        for row in rows
    )
    return (
        f'<table cellpadding="4">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        "</table>\n"
    )


def items(texts: Iterable[str]) -> str:
    """A list of texts."""
    return "<ul>" + "".join(f"<li>{lines(text)}</li>" for text in texts) + "</ul>"


def lines(text: str) -> str:
    """A text as markup, its lines kept."""
    return escape(text).replace("\n", "<br>")


def span(first: int, last: int) -> str:
    """Whole numbers from ``first`` to ``last``."""
    return f"{first}" if first == last else f"{first}–{last}"


def interval(low: float | None, high: float | None) -> str:
    """Nothing where there is none."""
    return "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"


def percent(share: float) -> str:
    """A share of 1 in hundredths."""
    return f"{100 * share:.2f} %"


def optional(value: float | None) -> str:
    """Nothing where there is none."""
    return "" if value is None else f"{value:.3f}"
