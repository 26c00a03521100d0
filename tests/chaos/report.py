"""Writes the tables of docs/reliability.md from what the fault tests wrote down.

``python -m tests.chaos.report RESULTS PAGE``: RESULTS has a line of JSON for each repetition. A
fault that it says nothing of, since a part of them was run, keeps the row that the page has.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

BEGIN = "<!-- faults: begin (made by tests/chaos/report.py) -->"
END = "<!-- faults: end -->"
ZEROS = ("lost", "twice", "wrong", "illegal")
FIXED = {"row", "fault", "database", "seconds", *ZEROS}
HEAD = (
    "| row | fault | database | repetitions | lost | published twice | wrong "
    "| illegal moves | p50, s | p99, s | seen |",
    "|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
)

Key = tuple[str, str, str]  # row of the matrix, fault, database


def table(results: list[dict[str, Any]], before: str) -> str:
    """A row for each fault and database: of ``results``, else as the table before has it."""
    groups: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["row"], result["fault"], result["database"]].append(result)
    rows = _rows(before) | {key: _row(key, group) for key, group in groups.items()}
    return "\n".join([*HEAD, *(rows[key] for key in sorted(rows, key=_order))])


def _rows(table: str) -> dict[Key, str]:
    found = {}
    for line in table.strip().splitlines()[len(HEAD) :]:
        row, fault, database = (cell.strip() for cell in line.split("|")[1:4])
        found[row, fault, database] = line
    return found


def _row(key: Key, group: list[dict[str, Any]]) -> str:
    zeros = [str(sum(result[name] for result in group)) for name in ZEROS]
    times = sorted(each["seconds"] for each in group if each["seconds"] is not None)
    cells = [*key, str(len(group)), *zeros, _at(times, 0.5), _at(times, 0.99), _seen(group)]
    return "| " + " | ".join(cells) + " |"


def _order(key: Key) -> tuple[int, str, str]:
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
    """Bring what stands between the two marks of the page up to date."""
    values = [json.loads(line) for line in results.read_text().splitlines()]
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    before, _, tail = rest.partition(END)
    text = f"{head}{BEGIN}\n{table(values, before)}\n{END}{tail}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
