"""The input file of a batch: every fault is named with its line, shards read back all lines."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batches.input import SHARD_LINES, BatchPlan, InvalidBatch, plan_batch, read_shard

ENDPOINT = "/v1/completions"


def line(custom_id: object = "a", **changes: object) -> bytes:
    value = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": {"prompt": "x"}}
    return json.dumps({**value, **changes}).encode() + b"\n"


def plan(content: bytes, max_lines: int = 10_000, max_bytes: int = 1000) -> BatchPlan:
    return plan_batch(io.BytesIO(content), ENDPOINT, max_lines=max_lines, max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("content", "code", "number"),
    [
        (b"", "empty_file", None),
        (b"\n \n", "empty_file", None),
        (line("a") + b"{oops\n", "invalid_json_line", 2),
        (line("a") + b"[1]\n", "invalid_json_line", 2),
        (b'{"custom_id": NaN}\n', "invalid_json_line", 1),
        (b"[" * 100_000 + b"\n", "line_too_long", 1),
        (b"[" * 900 + b"\n", "invalid_json_line", 1),
        (b"\xff\xfe\n", "invalid_json_line", 1),
        (line("a") + line("b") + line("a"), "duplicate_custom_id", 3),
        (line(7), "invalid_custom_id", 1),
        (line(""), "invalid_custom_id", 1),
        (line("a") + line("b\ud800"), "invalid_custom_id", 2),
        (line("a", method="GET"), "invalid_method", 1),
        (line("a", url="/v1/embeddings"), "url_mismatch", 1),
        (line("a", body="x"), "invalid_body", 1),
        (line("a", extra=1), "unknown_field", 1),
        (line("a", body={"prompt": "x" * 2000}), "line_too_long", 1),
    ],
)
def test_a_fault_names_its_code_and_line(content: bytes, code: str, number: int | None) -> None:
    with pytest.raises(InvalidBatch) as caught:
        plan(content)

    assert caught.value.errors[0]["code"] == code
    assert caught.value.errors[0]["line"] == number


def test_every_fault_is_listed_up_to_a_hundred() -> None:
    with pytest.raises(InvalidBatch) as caught:
        plan(b"{}\n" * 1000)

    assert [error["line"] for error in caught.value.errors] == list(range(1, 101))


def test_too_many_lines_are_refused_by_number() -> None:
    with pytest.raises(InvalidBatch) as caught:
        plan(b"".join(line(str(i)) for i in range(11)), max_lines=10)

    assert caught.value.errors[0]["code"] == "too_many_lines"


def test_a_whole_pair_in_an_id_is_a_character() -> None:
    [read] = read_shard(io.BytesIO(line("😀")), plan(line("😀")), 0, ENDPOINT, 1000)

    assert read.custom_id == "😀"


@given(
    count=st.integers(1, 3 * SHARD_LINES),
    blank=st.lists(st.integers(0, 500), max_size=5),
    mark=st.booleans(),
    last=st.booleans(),
)
def test_shards_give_back_every_line_in_order(
    count: int, blank: list[int], mark: bool, last: bool
) -> None:
    rows = [line(f"id-{i}", body={"prompt": "é" * (i % 7)}) for i in range(count)]
    for place in blank:
        rows.insert(place, b" \r\n")
    content = (b"\xef\xbb\xbf" if mark else b"") + b"".join(rows)
    content = content if last else content.rstrip(b"\r\n ")

    made = BatchPlan.from_dict(json.loads(json.dumps(plan(content).as_dict())))
    read = []
    for shard, offset in enumerate(made.offsets):
        stream = io.BytesIO(content)
        stream.seek(offset)
        read += list(read_shard(stream, made, shard, ENDPOINT, 1000))

    assert [item.custom_id for item in read] == [f"id-{i}" for i in range(count)]
    assert [item.number for item in read] == list(range(count))
