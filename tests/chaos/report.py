"""Writes the tables of docs/reliability.md from what the fault tests wrote down.

``python -m tests.chaos.report RESULTS PAGE``: RESULTS has a line of JSON for each repetition.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

BEGIN = "<!-- faults: begin (made by tests/chaos/report.py) -->"
END = "<!-- faults: end -->"
ZEROS = ("lost", "twice", "wrong", "illegal")
FIXED = {"row", "fault", "database", "seconds", *ZEROS}


def table(results: list[dict[str, Any]]) -> str:
    """A row for each fault and database."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["row"], result["fault"], result["database"]].append(result)
    lines = [
        "| row | fault | database | repetitions | lost | published twice | wrong "
        "| illegal moves | p50, s | p99, s | seen |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for (row, fault, database), group in sorted(groups.items(), key=lambda item: _order(item[0])):
        zeros = [str(sum(result[name] for result in group)) for name in ZEROS]
        times = sorted(each["seconds"] for each in group if each["seconds"] is not None)
        cells = [row, fault, database, str(len(group)), *zeros, _at(times, 0.5), _at(times, 0.99)]
        lines.append("| " + " | ".join([*cells, _seen(group)]) + " |")
    return "\n".join(lines)


def _order(key: tuple[str, str, str]) -> tuple[int, str, str]:
    row, fault, database = key
    return int(row.split(",")[0]), fault, database


def _at(times: list[float], share: float) -> str:
    """A quantile by the nearest rank; of a single time, that time."""
    if not times:
        return "–"
    return f"{times[min(len(times) - 1, int(share * len(times)))]:.1f}"


def _seen(group: list[dict[str, Any]]) -> str:
    """The figures of this row alone: the most of a number, the last of anything else."""
    names = [name for name in group[-1] if name not in FIXED]
    seen = []
    for name in names:
        values = [result[name] for result in group if result.get(name) is not None]
        if not values:
            continue
        figure = (
            max(values) if all(isinstance(value, int | float) for value in values) else values[-1]
        )
        text = f"{figure:.1f}" if isinstance(figure, float) else str(figure)
        seen.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(seen)


def main(results: Path, page: Path) -> None:
    """Replace what stands between the two marks of the page."""
    values = [json.loads(line) for line in results.read_text().splitlines()]
    text = page.read_text(encoding="utf-8")
    block = f"{BEGIN}\n{table(values)}\n{END}"
    page.write_text(
        re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, text, flags=re.DOTALL),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
