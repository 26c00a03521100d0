"""A retry of the stock client gets the job that its first request made; nothing else does."""

from __future__ import annotations

import logging
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


def test_an_answer_that_was_lost_on_its_way_is_given_again(
    call: Caller, body: dict[str, Any]
) -> None:
    first = send(call, {**body, "seed": 5})

    assert send(call, {**body, "seed": 5}, count=1) == first


def test_who_asks_twice_means_twice(
    call: Caller, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = send(call, {**body, "seed": 5})
    second = send(call, {**body, "seed": 5})
    monkeypatch.setattr("web.safe_retries.LOST_SECONDS", 0.0)
    third = send(call, {**body, "seed": 5}, count=1)  # the second has long arrived

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


def test_a_job_its_error_and_the_log_tell_which_request_made_it(
    call: Caller, services: Services, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = call("POST", "/v1/fine_tuning/jobs", json=body)
    job_id, request_id = answer.get_json()["id"], answer.headers["x-request-id"]
    running = services.jobs.claim("training", "w1")
    assert running is not None
    services.jobs.fail(running, {"code": "invalid_corpus", "message": "Empty.", "param": None})

    for path in (f"/v1/jobs/{job_id}", f"/v1/fine_tuning/jobs/{job_id}"):
        assert call("GET", path).get_json()["error"]["request_id"] == request_id
    assert call("GET", f"/v1/jobs/{job_id}").get_json()["request_id"] == request_id
    assert request_id in call("GET", f"/jobs/{job_id}").text
    assert [line for line in caplog.messages if request_id in line and job_id in line]

    again = call("POST", f"/v1/jobs/{job_id}/retry")
    new = again.headers["x-request-id"]
    assert again.get_json()["request_id"] == new != request_id
    assert [line for line in caplog.messages if new in line and job_id in line]
