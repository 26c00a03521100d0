"""Small charts as inline SVG: attributes alone, in the colour of the text around them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 600, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 32  # margins


def line_chart(title: str, labels: Sequence[str], values: Sequence[float]) -> str:
    """``values`` from left to right, each with its label, the scale from least to greatest."""
    low, high = min(values), max(values)
    spread = high - low or 1.0
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(values) - 1, 1)
    points = [
        (_LEFT + step * number, _y((value - low) / spread)) for number, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="2"/>']
    for (x, y), label, value in zip(points, labels, values, strict=True):
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="currentColor">'
            f"<title>{escape(label)}: {value:.3f}</title></circle>"
        )
        parts.append(_text(x, _HEIGHT - 10, label, "middle"))
    scale = [(low, 0.0), (high, 1.0)] if high > low else [(low, 0.0)]
    return _chart(title, parts, scale)


def reliability_chart(title: str, bars: Sequence[tuple[float, float, float]]) -> str:
    """Bars (low, high, share) on scales from 0 to 1, beside the line where both are equal."""
    width = _WIDTH - _LEFT - _RIGHT
    parts = [
        f'<rect x="{_LEFT + width * low:.1f}" y="{_y(share):.1f}" '
        f'width="{width * (high - low) - 2:.1f}" height="{_y(0) - _y(share):.1f}" '
        f'fill="currentColor" fill-opacity="0.35"><title>{low:.2f} to {high:.2f}: '
        f"{share:.3f}</title></rect>"
        for low, high, share in bars
    ]
    parts.append(
        f'<line x1="{_LEFT}" y1="{_y(0)}" x2="{_WIDTH - _RIGHT}" y2="{_y(1)}" '
        'stroke="currentColor" stroke-dasharray="4 4"/>'
    )
    parts += [
        _text(_LEFT + width * share, _HEIGHT - 10, f"{share:g}", "middle")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    return _chart(title, parts, [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])


def _chart(title: str, parts: Sequence[str], scale: Sequence[tuple[float, float]]) -> str:
    axis = (
        f'<line x1="{_LEFT}" y1="{_y(0)}" x2="{_WIDTH - _RIGHT}" y2="{_y(0)}" '
        'stroke="currentColor" stroke-opacity="0.5"/>'
    )
    numbers = [_text(_LEFT - 8, _y(share) + 4, f"{value:.3g}", "end") for value, share in scale]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{axis}{"".join(numbers)}{"".join(parts)}</svg>'
    )


def _y(share: float) -> float:
    """Where a share of the height lies, from the top."""
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="currentColor" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
