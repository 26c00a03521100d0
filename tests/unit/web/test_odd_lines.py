"""Whatever stands in a line of a batch, the line gets its result and the others go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from web.services import Services
from worker.batches.input import BatchLine
from worker.batches.shard import ERROR_FILE, Shard


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "odd",
    [
        {"prompt": "\ud800"},
        {"model": "\udfff"},
        {"model": "a\0b"},
        {"user": ["\ud800"]},
        {"logit_bias": {"\ud800": 1}},
        {"\ud800": 1},
        {"prompt": deep(900)},
        {"stop": deep(900)},
    ],
    ids=lambda odd: f"{odd!r:.20}",
)
def test_a_line_that_is_odd_fails_alone(
    services: Services, model: str, odd: dict[str, Any]
) -> None:
    job = services.jobs.submit("acme", "batch", {"endpoint": "/v1/completions"})
    body = {"model": model, "prompt": "x"}
    lines = [BatchLine(0, "odd", {**body, **odd}), BatchLine(1, "fine", body)]
    shard = Shard(0, job, lines)

    assert [each.line.custom_id for each in shard.prepare(services.models, services.settings)] == [
        "fine"
    ]
    with services.store.create("shard") as staging:
        shard.write(staging)
        staging.commit()

    with services.store.open("shard", ERROR_FILE) as file:
        [row] = file.read().decode().splitlines()
    assert json.loads(row)["custom_id"] == "odd"
    assert json.loads(row)["response"]["status_code"] == 400
