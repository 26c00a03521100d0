"""Batches through the official client: a thousand lines with bad ones, order, faults, cancel."""

from __future__ import annotations

import io
import json
from typing import Any

import openai
import pytest

from tests.stack import Stack, completion_lines, wait_for_batch

LINES = 1000


def run(client: openai.OpenAI, content: bytes, **options: Any) -> Any:
    file = client.files.create(file=("batch.jsonl", io.BytesIO(content)), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h", **options
    )
    return wait_for_batch(client, batch.id)


def rows(client: openai.OpenAI, file_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


@pytest.mark.parametrize("strictly", [False, True], ids=["ordinary", "strict"])
def test_a_thousand_lines_with_bad_ones(
    client: openai.OpenAI, strict: openai.OpenAI, model: str, strictly: bool
) -> None:
    lines = completion_lines(model, LINES).decode().splitlines()
    bad = {100: {"temperature": 9}, 500: {"model": "nothing"}, 999: {"prompt": 5}}
    for number, change in bad.items():
        row = json.loads(lines[number])
        row["body"].update(change)
        lines[number] = json.dumps(row)

    used = strict if strictly else client
    batch = run(used, "\n".join(lines).encode(), metadata={"for": "test"})

    assert batch.status == "completed"
    assert batch.metadata == {"for": "test"}
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (LINES, LINES - 3, 3)
    output = rows(used, batch.output_file_id)
    good = [f"line-{i}" for i in range(LINES) if i not in bad]
    assert [row["custom_id"] for row in output] == good
    assert all(row["response"]["status_code"] == 200 for row in output)
    errors = rows(used, batch.error_file_id)
    assert [row["custom_id"] for row in errors] == ["line-100", "line-500", "line-999"]
    assert [row["response"]["status_code"] for row in errors] == [400, 404, 400]
    assert errors[0]["response"]["body"]["error"]["param"] == "temperature"


def test_a_line_writes_what_the_same_request_writes(client: openai.OpenAI, model: str) -> None:
    batch = run(client, completion_lines(model, 20, max_tokens=30))

    for number, row in enumerate(rows(client, batch.output_file_id)):
        alone = client.completions.create(model=model, prompt="The ", max_tokens=30, seed=number)
        assert row["response"]["body"]["choices"][0]["text"] == alone.choices[0].text


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"{oops\n", "invalid_json_line", 1),
        (completion_lines("m", 3) + b"\n" + completion_lines("m", 1), "duplicate_custom_id", 4),
        (completion_lines("m", 2).replace(b"/v1/completions", b"/v1/chat"), "url_mismatch", 1),
    ],
)
def test_a_file_that_is_no_batch_fails_with_the_line(
    client: openai.OpenAI, content: bytes, code: str, line: int
) -> None:
    batch = run(client, content)

    assert batch.status == "failed"
    assert batch.errors.data[0].code == code
    assert batch.errors.data[0].line == line
    assert batch.output_file_id is None


def test_all_lines_bad_is_completed_without_output(client: openai.OpenAI) -> None:
    batch = run(client, completion_lines("nothing", 5))

    assert batch.status == "completed"
    assert batch.output_file_id is None
    assert batch.request_counts.failed == 5


def test_a_cancelled_batch_keeps_what_was_done(client: openai.OpenAI, model: str) -> None:
    content = completion_lines(model, 5000, max_tokens=400)
    file = client.files.create(file=("batch.jsonl", io.BytesIO(content)), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
    )

    client.batches.cancel(batch.id)
    ended = wait_for_batch(client, batch.id, seconds=30)

    assert ended.status == "cancelled"
    assert ended.request_counts.completed < 5000


def test_failed_lines_run_again_by_themselves(
    stack: Stack, client: openai.OpenAI, model: str
) -> None:
    bad = completion_lines("not-yet", 2).replace(b"line-", b"bad-")
    batch = run(client, completion_lines(model, 3) + b"\n" + bad)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (3, 2)

    def told(*words: str) -> list[str]:
        lines = stack.cli("jobs", "output", batch.id, *words).stdout.splitlines()
        return [json.loads(line)["custom_id"] for line in lines]

    assert told() == ["line-0", "line-1", "line-2"]
    assert told("--errors") == ["bad-0", "bad-1"]

    with stack.http() as http:
        http.put("/v1/aliases/not-yet", json={"model": model}).raise_for_status()
    again = json.loads(stack.cli("jobs", "retry", batch.id, "--failed", "--json").stdout)
    ended = wait_for_batch(client, again["id"])

    assert (ended.request_counts.completed, ended.request_counts.failed) == (2, 0)
    assert [row["custom_id"] for row in rows(client, ended.output_file_id)] == ["bad-0", "bad-1"]
    with stack.http() as http:
        assert http.get(f"/v1/jobs/{again['id']}").json()["retry_of"] == batch.id
        http.delete("/v1/aliases/not-yet").raise_for_status()
