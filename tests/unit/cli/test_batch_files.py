"""From the user's file to batch lines and back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from textgen.errors import InvalidInput
from web.batch_lines import read_requests, write_requests
from web.cli.batch_files import merge, write_results

DEFAULTS = {"model": "m", "max_tokens": 5}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def requests(path: Path, column: str = "prompt") -> list[dict[str, Any]]:
    return list(read_requests(path, DEFAULTS, column))


def test_a_text_is_a_prompt_a_line_without_the_blank_ones(tmp_path: Path) -> None:
    found = requests(written(tmp_path, "in.txt", "\ufeffEin Satz \r\n\n二\n"))

    assert [line["body"]["prompt"] for line in found] == ["Ein Satz ", "二"]
    assert [line["custom_id"] for line in found] == ["line-1", "line-3"]
    assert found[0]["body"] == {**DEFAULTS, "prompt": "Ein Satz "}
    assert found[0]["url"] == "/v1/completions"


def test_jsonl_takes_texts_objects_and_ready_lines(tmp_path: Path) -> None:
    rows = ['"a"', '{"prompt": "b", "seed": 3}', '{"custom_id": "x", "body": {"prompt": "c"}}']
    found = requests(written(tmp_path, "in.jsonl", "\n".join(rows)))

    assert [line["custom_id"] for line in found] == ["line-1", "line-2", "x"]
    assert found[1]["body"] == {**DEFAULTS, "prompt": "b", "seed": 3}
    assert found[2] == {
        "custom_id": "x",
        "method": "POST",
        "url": "/v1/completions",
        "body": {**DEFAULTS, "prompt": "c"},
    }


def test_how_texts_are_drawn_is_for_lines_that_write(tmp_path: Path) -> None:
    row = '{"url": "/v1/embeddings", "body": {"input": "a"}}'
    [line] = requests(written(tmp_path, "in.jsonl", row))

    assert line["body"] == {"model": "m", "input": "a"}


@pytest.mark.parametrize("row", ["{", "3", '{"text": "x"}'])
def test_a_bad_line_is_named(tmp_path: Path, row: str) -> None:
    with pytest.raises(InvalidInput, match=r"Line 2 of in\.jsonl"):
        requests(written(tmp_path, "in.jsonl", f'"a"\n{row}\n'))


def test_csv_takes_the_column_named(tmp_path: Path) -> None:
    path = written(tmp_path, "in.csv", 'id,start\n1,"a\nb"\n2,c\n')

    assert [line["body"]["prompt"] for line in requests(path, "start")] == ["a\nb", "c"]
    with pytest.raises(InvalidInput, match="it has id, start"):
        requests(path)


def result(custom_id: str, text: str) -> dict[str, Any]:
    body = {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


def failure(custom_id: str, message: str) -> dict[str, Any]:
    body = {"error": {"message": message}}
    return {"custom_id": custom_id, "response": {"status_code": 400, "body": body}, "error": None}


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Three requests of which the second failed, their results merged."""
    asked = tmp_path / "requests.jsonl"
    write_requests(requests(written(tmp_path, "in.txt", "a\nb\nc\n")), asked)
    good = [result("line-1", "one\nmore"), result("line-3", "three")]
    output = written(tmp_path, "output.jsonl", "\n".join(map(json.dumps, good)))
    errors = written(tmp_path, "error.jsonl", json.dumps(failure("line-2", "too long")))
    return asked, list(merge(asked, output, errors))


def test_results_come_in_the_order_of_the_prompts(
    finished: tuple[Path, list[dict[str, Any]]],
) -> None:
    assert [line["custom_id"] for line in finished[1]] == ["line-1", "line-2", "line-3"]


def test_results_of_nothing_are_none(tmp_path: Path) -> None:
    asked = written(tmp_path, "requests.jsonl", '{"custom_id": "1"}\n')
    assert list(merge(asked, None, None)) == []


def test_each_form_of_output(tmp_path: Path, finished: tuple[Path, list[dict[str, Any]]]) -> None:
    asked, results = finished
    for suffix in ("txt", "csv", "jsonl"):
        write_results(asked, results, tmp_path / f"out.{suffix}")

    assert (tmp_path / "out.txt").read_text() == "one\\nmore\n\nthree\n"
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == results
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [
        ["line-1", "a", "one\nmore", "stop", ""],
        ["line-2", "b", "", "", "too long"],
        ["line-3", "c", "three", "stop", ""],
    ]
