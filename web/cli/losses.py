"""How the losses of a training fell: a line of blocks for each, which a terminal can show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from web.cli.api import Api, RequestFailed, path_of
from web.cli.language import _

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 28  # with its name and numbers a curve fits into 80
CURVES = {"validation loss": "valid_loss", "training loss": "train_loss"}
METRICS = "metrics"  # the type of the events that measure
GONE = 410


class Losses:
    """What the events of a training have told of its losses.

    A training that goes on from a checkpoint measures some steps again: the last word counts.
    """

    def __init__(self) -> None:
        self._points: dict[str, dict[int, float]] = {name: {} for name in CURVES}

    def note(self, event: Mapping[str, Any]) -> None:
        """Take in an event; those that measure nothing change nothing."""
        if event["type"] != METRICS:
            return
        data = event["data"]
        for name, field in CURVES.items():
            value = data.get(field)
            if value is not None and math.isfinite(value):
                self._points[name][int(data["step"])] = float(value)

    def lines(self) -> dict[str, str]:
        """Each curve that has two points: its blocks, and the numbers where it began and is.

        The curves share both scales, so that they can be compared.
        """
        found = {name: points for name, points in self._points.items() if len(points) > 1}
        if not found:
            return {}
        last = max(max(points) for points in found.values())
        count = min(COLUMNS, len({step for points in found.values() for step in points}))
        curves = {name: columns(points, last, count) for name, points in found.items()}
        heights = [value for curve in curves.values() for value in curve if value is not None]
        low, high = min(heights), max(heights)
        return {
            _title(name): f"{blocks(curve, low, high)}  {numbers(found[name])}"
            for name, curve in curves.items()
        }


def _title(name: str) -> str:
    return {
        "validation loss": _("validation loss"),
        "training loss": _("training loss"),
    }[name]


def losses_of(api: Api, job_id: str) -> Losses:
    """What the events of a job tell of its losses; nothing where they were removed."""
    losses, after = Losses(), 0
    while True:
        try:
            page = api.get(path_of("jobs", job_id, "events"), after=after, limit=1000)
        except RequestFailed as error:
            if error.status == GONE:
                return losses
            raise
        for event in page["data"]:
            losses.note(event)
            after = event["id"]
        if not page["has_more"]:
            return losses


def columns(points: Mapping[int, float], last: int, count: int) -> list[float | None]:
    """The mean of each of ``count`` equal parts of the steps up to ``last``.

    A part without a point has what was there before it; None before the first point.
    """
    parts: list[list[float]] = [[] for _ in range(count)]
    for step, value in sorted(points.items()):
        parts[min(max(step - 1, 0) * count // max(last, 1), count - 1)].append(value)
    curve: list[float | None] = []
    for part in parts:
        before = curve[-1] if curve else None
        curve.append(sum(part) / len(part) if part else before)
    return curve


def blocks(curve: list[float | None], low: float, high: float) -> str:
    """A block for each value, as high as it is between ``low`` and ``high``."""
    unit = (high - low) / (len(BLOCKS) - 1) or 1.0
    return "".join(" " if value is None else BLOCKS[round((value - low) / unit)] for value in curve)


def numbers(points: Mapping[int, float]) -> str:
    """Where a curve began and is, and its lowest point where that is another."""
    first, last, best = points[min(points)], points[max(points)], min(points.values())
    told = f"{first:.3f} → {last:.3f}"
    if best == last:
        return told
    return _("%(curve)s, lowest %(loss)s") % {"curve": told, "loss": f"{best:.3f}"}
