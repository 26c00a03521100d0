"""The files of an evaluation, and what of its report is worth an answer's space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
LEFT_OUT = ("format", "options")  # the job's specification says what was asked for


def summary_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a report: all of it that is no list."""
    return {name: _figures(value) for name, value in report.items() if _is_figure(name, value)}


def _is_figure(name: str, value: Any) -> bool:
    return value is not None and not isinstance(value, list) and name not in LEFT_OUT


def _figures(value: Any) -> Any:
    return summary_of(value) if isinstance(value, Mapping) else value
