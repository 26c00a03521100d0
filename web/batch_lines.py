"""Lines of batches: made from what people have, and read as people can.

In: `.txt` (a prompt a line), `.csv` (a column of prompts), `.jsonl` (a string, an object with
``prompt``, or a ready batch line).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from textgen.errors import InvalidInput

ENDPOINT = "/v1/completions"
WRITING = (ENDPOINT, "/v1/chat/completions")


def read_requests(
    path: Path, defaults: Mapping[str, Any], column: str, *, name: str = ""
) -> Iterator[dict[str, Any]]:
    """The batch lines for a file of prompts, whose ``name`` is ``path``'s own where none is given.

    Raises InvalidInput naming the line.
    """
    name = name if name else path.name
    suffix = Path(name).suffix.lower()
    if suffix == ".csv":
        rows: Iterable[tuple[int, Any]] = _csv(path, name, column)
    elif suffix in (".jsonl", ".ndjson"):
        rows = _jsonl(path, name)
    else:
        rows = _lines(path)
    try:
        for number, row in rows:
            yield _request(number, row, defaults, name)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{name} is not UTF-8 ({error.reason}). Save it as UTF-8.", param="file"
        ) from None
    except csv.Error as error:
        raise InvalidInput(f"{name} cannot be read as CSV: {error}.", param="file") from None


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def _jsonl(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise InvalidInput(
                f"Line {number} of {name} is not JSON: {error}.", param="file"
            ) from None


def _csv(path: Path, name: str, column: str) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if column not in names:
            raise InvalidInput(
                f"{name} has no column {column!r}; it has {', '.join(names)}. "
                "Say which one has the prompts (on the command line: --column NAME).",
                param="column",
            )
        for row in reader:
            yield reader.line_num, row[column] if row[column] is not None else ""


def _request(number: int, row: Any, defaults: Mapping[str, Any], name: str) -> dict[str, Any]:
    if isinstance(row, str):
        row = {"prompt": row}
    if not isinstance(row, dict) or not ("prompt" in row or "body" in row):
        raise InvalidInput(
            f"Line {number} of {name} must be a text, an object with 'prompt', or a batch "
            "line with 'body'.",
            param="file",
        )
    if "body" in row:
        ready = {"custom_id": f"line-{number}", "method": "POST", "url": ENDPOINT, **row}
        if not isinstance(row["body"], dict):
            raise InvalidInput(
                f"Line {number} of {name} has a 'body' that is no object.", param="file"
            )
        return {**ready, "body": {**_fitting(defaults, ready["url"]), **row["body"]}}
    fields = {name: value for name, value in row.items() if name != "custom_id"}
    return {
        "custom_id": str(row.get("custom_id", f"line-{number}")),
        "method": "POST",
        "url": ENDPOINT,
        "body": {**defaults, **fields},
    }


def _fitting(defaults: Mapping[str, Any], url: str) -> Mapping[str, Any]:
    """Those that a request to ``url`` knows: how texts are drawn is for those that write some."""
    if url in WRITING:
        return defaults
    return {name: value for name, value in defaults.items() if name == "model"}


def write_requests(requests: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write batch lines; return how many there are."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for request in requests:
            file.write(json.dumps(request, ensure_ascii=False) + "\n")
            count += 1
    return count


def texts_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(text, finish reason) of each choice of a result line; empty for a failed one."""
    response = result.get("response")
    if not response or response["status_code"] != 200:
        return []
    return [
        (
            choice["text"] if "text" in choice else choice["message"]["content"],
            choice["finish_reason"],
        )
        for choice in response["body"].get("choices", ())
    ]


def error_of(result: Mapping[str, Any]) -> str:
    """Why a line failed; empty for a good one."""
    if result.get("error"):
        return str(result["error"].get("message", "failed"))
    response = result.get("response")
    if response and response["status_code"] != 200:
        return str(response["body"].get("error", {}).get("message", "failed"))
    return ""
