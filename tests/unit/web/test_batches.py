"""Batches as clients see them at each moment of their life."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openai.types import Batch

from tests.unit.web.conftest import Caller
from web.services import Services
from worker.jobs.rows import Job


@pytest.fixture
def start(call: Caller, upload: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    def send(**more: Any) -> dict[str, Any]:
        body = {
            "input_file_id": upload(b'{"custom_id": "a"}\n', "batch"),
            "endpoint": "/v1/completions",
            "completion_window": "24h",
            **more,
        }
        answer = call("POST", "/v1/batches", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.get_json())

    return send


Start = Callable[..., dict[str, Any]]


def claim(services: Services) -> Job:
    job = services.jobs.claim("batch", "test-worker")
    assert job is not None
    return job


def shown(call: Caller, batch_id: str) -> Batch:
    return Batch.model_validate(call("GET", f"/v1/batches/{batch_id}").get_json(), strict=True)


def test_the_whole_life(call: Caller, start: Start, services: Services) -> None:
    batch_id = start(metadata={"a": "b"})["id"]
    assert shown(call, batch_id).status == "validating"
    assert shown(call, batch_id).metadata == {"a": "b"}

    job = claim(services)
    services.jobs.set_progress(job, {"request_counts": {"total": 3, "completed": 1, "failed": 1}})
    running = shown(call, batch_id)
    assert (running.status, running.in_progress_at is None) == ("in_progress", False)
    assert running.request_counts is not None and running.request_counts.completed == 1

    services.jobs.set_phase(job, "finalizing")
    assert shown(call, batch_id).status == "finalizing"
    assert shown(call, batch_id).finalizing_at is not None

    services.jobs.succeed(
        job,
        {
            "output_file_id": "file-o",
            "error_file_id": None,
            "request_counts": {"total": 3, "completed": 3, "failed": 0},
            "usage": {"prompt_tokens": 5, "completion_tokens": 7},
        },
    )
    done = shown(call, batch_id)
    assert (done.status, done.output_file_id, done.error_file_id) == ("completed", "file-o", None)
    assert done.usage is not None and done.usage.total_tokens == 12
    assert done.completed_at is not None and done.failed_at is None


def test_bad_input_is_named_line_by_line(call: Caller, start: Start, services: Services) -> None:
    batch_id = start()["id"]
    errors = [
        {"code": "invalid_json_line", "line": 3, "message": "No JSON.", "param": None},
        {"code": "url_mismatch", "line": 4, "message": "Other URL.", "param": "url"},
    ]
    error = {"code": "invalid_json_line", "message": "No JSON.", "param": None, "errors": errors}
    services.jobs.fail(claim(services), error)

    failed = shown(call, batch_id)

    assert failed.status == "failed" and failed.errors is not None
    assert failed.errors.data is not None
    assert [(e.code, e.line) for e in failed.errors.data] == [
        ("invalid_json_line", 3),
        ("url_mismatch", 4),
    ]


def test_cancelling_while_it_runs(call: Caller, start: Start, services: Services) -> None:
    batch_id = start()["id"]
    job = claim(services)
    services.jobs.request_cancel("acme", batch_id)
    assert shown(call, batch_id).status == "cancelling"

    services.jobs.cancelled(job)

    gone = shown(call, batch_id)
    assert gone.status == "cancelled" and gone.cancelling_at and gone.cancelled_at


def test_cancelling_before_it_runs(call: Caller, start: Start) -> None:
    answer = call("POST", f"/v1/batches/{start()['id']}/cancel")

    assert answer.get_json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after"),
        ({"model": "x"}, "model"),
    ],
)
def test_what_cannot_be_run_is_a_400(
    call: Caller, upload: Callable[..., str], more: dict[str, Any], param: str
) -> None:
    body = {
        "input_file_id": upload(purpose="batch"),
        "endpoint": "/v1/completions",
        "completion_window": "24h",
        **more,
    }

    answer = call("POST", "/v1/batches", json=body)

    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == param


def test_pages(call: Caller, start: Start) -> None:
    ids = [start()["id"] for _ in range(3)]

    first = call("GET", "/v1/batches?limit=2").get_json()
    rest = call("GET", f"/v1/batches?limit=2&after={first['last_id']}").get_json()

    assert [batch["id"] for batch in first["data"] + rest["data"]] == ids[::-1]
    assert rest["has_more"] is False


def test_the_output_may_expire(start: Start, services: Services) -> None:
    batch = start(output_expires_after={"anchor": "created_at", "seconds": 3600})

    assert services.jobs.get("acme", batch["id"]).spec["output_expires_seconds"] == 3600
