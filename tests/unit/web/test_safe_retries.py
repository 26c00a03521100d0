"""A retry of the stock client gets the job that its first request made; nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.unit.web.conftest import Caller, caller
from web.services import Services
from worker.jobs.tables import idempotency


@pytest.fixture
def body(upload: Callable[..., str]) -> dict[str, Any]:
    return {"model": "lstm-tiny", "training_file": upload()}


def send(call: Caller, body: dict[str, Any], count: int = 0, *, written: bool = True) -> str:
    """A request, whose answer may break off before it is written."""
    headers = {"x-stainless-retry-count": str(count)}
    answer = call("POST", "/v1/fine_tuning/jobs", json=body, headers=headers, buffered=written)
    if written:
        assert answer.status_code == 200
        return str(answer.get_json()["id"])
    first = next(iter(answer.response))  # the bytes are there, but nobody asks for the end
    answer.close()
    return str(first)


def jobs_of(call: Caller) -> list[str]:
    return [job["id"] for job in call("GET", "/v1/jobs").get_json()["data"]]


def test_a_retry_gets_the_job_whose_answer_broke_off(call: Caller, body: dict[str, Any]) -> None:
    send(call, {**body, "seed": 5}, written=False)

    again = send(call, {**body, "seed": 5}, count=1)

    assert jobs_of(call) == [again]


def test_who_asks_twice_means_twice(call: Caller, body: dict[str, Any]) -> None:
    first = send(call, {**body, "seed": 5})
    second = send(call, {**body, "seed": 5})
    third = send(call, {**body, "seed": 5}, count=1)  # the second was answered whole

    assert len({first, second, third}) == 3


def test_another_body_key_or_time_is_no_retry(
    app: Flask, services: Services, call: Caller, body: dict[str, Any]
) -> None:
    other = caller(app, services, "acme", "read", "train")
    send(call, {**body, "seed": 5}, written=False)
    send(call, {**body, "seed": 6}, count=1)
    send(other, {**body, "seed": 5}, count=1)
    assert len(jobs_of(call)) == 3

    send(call, {**body, "seed": 7}, written=False)
    with services.database.write() as connection:
        connection.execute(sa.update(idempotency).values(created_at=idempotency.c.created_at - 61))
    send(call, {**body, "seed": 7}, count=1)
    assert len(jobs_of(call)) == 5


@pytest.mark.parametrize("count", ["", "-1", "x", "9" * 5000])
def test_odd_counts(call: Caller, body: dict[str, Any], count: str) -> None:
    headers = {"x-stainless-retry-count": count}
    answer = call("POST", "/v1/fine_tuning/jobs", json=body, headers=headers)

    assert answer.status_code == 200


def test_depth_is_bounded(call: Caller, body: dict[str, Any]) -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]

    answer = call("POST", "/v1/fine_tuning/jobs", json={**body, "metadata": deep})

    assert answer.status_code == 400
    assert "32 levels" in answer.get_json()["error"]["message"]


def test_a_job_tells_which_request_made_it(call: Caller, body: dict[str, Any]) -> None:
    answer = call("POST", "/v1/fine_tuning/jobs", json=body)

    job = call("GET", f"/v1/jobs/{answer.get_json()['id']}").get_json()
    assert job["request_id"] == answer.headers["x-request-id"]
