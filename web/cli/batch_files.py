"""What goes into a batch and what comes out of it, as files of the user's.

In: `.txt` (a prompt a line), `.csv` (a column of prompts), `.jsonl` (a string, an object with
``prompt``, or a ready batch line). Out: `.jsonl` (the batch's own lines), `.csv`, or `.txt`
(a text a line, its line breaks written as ``\\n``).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from textgen.errors import InvalidInput

ENDPOINT = "/v1/completions"


def read_requests(path: Path, defaults: Mapping[str, Any], column: str) -> Iterator[dict[str, Any]]:
    """The batch lines for a file of prompts; raises InvalidInput naming the line."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        rows: Iterable[tuple[int, Any]] = _csv(path, column)
    elif suffix in (".jsonl", ".ndjson"):
        rows = _jsonl(path)
    else:
        rows = _lines(path)
    for number, row in rows:
        yield _request(number, row, defaults, path)


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"Line {number} of {path.name} is not JSON: {error}.") from None


def _csv(path: Path, column: str) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if column not in names:
            raise InvalidInput(
                f"{path.name} has no column {column!r}; it has {', '.join(names)}. "
                "Name the one with the prompts: --column NAME"
            )
        for row in reader:
            yield reader.line_num, row[column] if row[column] is not None else ""


def _request(number: int, row: Any, defaults: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if isinstance(row, str):
        row = {"prompt": row}
    if not isinstance(row, dict) or not ("prompt" in row or "body" in row):
        raise InvalidInput(
            f"Line {number} of {path.name} must be a text, an object with 'prompt', or a batch "
            "line with 'body'."
        )
    if "body" in row:
        ready = {"custom_id": f"line-{number}", "method": "POST", "url": ENDPOINT, **row}
        return {**ready, "body": {**defaults, **row["body"]}}
    fields = {name: value for name, value in row.items() if name != "custom_id"}
    return {
        "custom_id": str(row.get("custom_id", f"line-{number}")),
        "method": "POST",
        "url": ENDPOINT,
        "body": {**defaults, **fields},
    }


def write_requests(requests: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write batch lines; return how many there are."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for request in requests:
            file.write(json.dumps(request, ensure_ascii=False) + "\n")
            count += 1
    return count


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


def texts_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(text, finish reason) of each choice of a result line; empty for a failed one."""
    response = result.get("response")
    if not response or response["status_code"] != 200:
        return []
    return [(choice["text"], choice["finish_reason"]) for choice in response["body"]["choices"]]


def error_of(result: Mapping[str, Any]) -> str:
    """Why a line failed; empty for a good one."""
    if result.get("error"):
        return str(result["error"].get("message", "failed"))
    response = result.get("response")
    if response and response["status_code"] != 200:
        return str(response["body"].get("error", {}).get("message", "failed"))
    return ""
