"""A text with a colour behind each piece, as inline SVG: attributes alone, no style."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

_COLUMNS = 100
_COLUMN, _LINE, _SIZE = 8, 22, 13  # pixels
_ABOVE, _BELOW = "#1c7ed6", "#e8590c"
_SHOWN = {"\n": "⏎", "\t": "⇥", " ": "\N{NO-BREAK SPACE}"}


@dataclass(frozen=True, slots=True)
class HeatPiece:
    """A piece of text with its value, from -1 to 1, and what is said when it is pointed at."""

    text: str
    value: float
    note: str


def heat_text(title: str, pieces: Iterable[HeatPiece]) -> str:
    """Blue is above 0, orange below; the farther, the stronger."""
    drawn, lines = [], 1
    for line, column, width, piece in _placed(pieces):
        lines = max(lines, line + 1)
        x, y = _COLUMN * column, _LINE * line
        colour, strength = _ABOVE if piece.value > 0 else _BELOW, min(abs(piece.value), 1.0)
        drawn.append(
            f"<g><title>{escape(piece.note)}</title>"
            f'<rect x="{x}" y="{y}" width="{_COLUMN * width}" height="{_LINE - 2}" '
            f'fill="{colour}" fill-opacity="{0.75 * strength:.2f}"/>'
            f'<text x="{x}" y="{y + _SIZE + 2}" textLength="{_COLUMN * width}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(_shown(piece.text))}</text></g>'
        )
    return (
        f'<svg viewBox="0 0 {_COLUMN * _COLUMNS} {_LINE * lines}" width="100%" role="img" '
        f'aria-label="{escape(title)}" font-family="monospace" font-size="{_SIZE}" '
        f'fill="currentColor">{"".join(drawn)}</svg>'
    )


def _placed(pieces: Iterable[HeatPiece]) -> Iterator[tuple[int, int, int, HeatPiece]]:
    """Line, column and width of each piece that shows something."""
    line = column = 0
    for piece in pieces:
        width = sum(map(_width, _shown(piece.text)))
        if width == 0:
            continue
        if column and column + width > _COLUMNS:
            line, column = line + 1, 0
        yield line, column, width, piece
        column += width
        if piece.text.endswith("\n"):
            line, column = line + 1, 0


def _shown(text: str) -> str:
    kept = (_SHOWN.get(character, character) for character in text)
    return "".join(each if each.isprintable() or each == _SHOWN[" "] else "·" for each in kept)


def _width(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
