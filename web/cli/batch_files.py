"""What comes out of a batch, as a file of the user's.

`.jsonl` (the batch's own lines), `.csv`, or `.txt` (a text a line, its line breaks written as
``\\n``).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from web.batch_lines import error_of, texts_of

SUFFIXES = (".jsonl", ".csv", ".txt")


def merge(requests: Path, output: Path | None, errors: Path | None) -> Iterator[dict[str, Any]]:
    """The result lines in the order of the requests, good ones and failed ones together."""
    good, bad = _results(output), _results(errors)
    next_good, next_bad = next(good, None), next(bad, None)
    with requests.open(encoding="utf-8") as file:
        for line in file:
            custom_id = json.loads(line)["custom_id"]
            if next_good is not None and next_good["custom_id"] == custom_id:
                yield next_good
                next_good = next(good, None)
            elif next_bad is not None and next_bad["custom_id"] == custom_id:
                yield next_bad
                next_bad = next(bad, None)


def _results(path: Path | None) -> Iterator[dict[str, Any]]:
    if path is None:
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def write_results(requests: Path, results: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write results in the form that the suffix of ``path`` asks for."""
    suffix = path.suffix.lower()
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".csv":
            table = csv.writer(file)
            table.writerow(("custom_id", "prompt", "text", "finish_reason", "error"))
            table.writerows(_table_rows(requests, results))
        elif suffix == ".txt":
            for result in results:
                for text, _ in texts_of(result) or [("", "")]:
                    file.write(text.replace("\n", "\\n") + "\n")
        else:
            for result in results:
                file.write(json.dumps(result, ensure_ascii=False) + "\n")


def _table_rows(
    requests: Path, results: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[object, ...]]:
    asked = _results(requests)
    for result in results:
        request = next(one for one in asked if one["custom_id"] == result["custom_id"])
        prompt = request["body"].get("prompt", "")
        for text, reason in texts_of(result):
            yield result["custom_id"], prompt, text, reason, ""
        if error_of(result):
            yield result["custom_id"], prompt, "", "", error_of(result)
