"""What a plan allows, in the words and headers that clients know."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa

from tests.unit.web.conftest import Caller
from web.services import Services
from worker.tenants.options import TenantOptions
from worker.usage.quantities import NAMES
from worker.usage.tables import usage


@pytest.fixture
def limit(services: Services) -> Callable[..., None]:
    """Give acme bounds of its own."""

    def set_limits(**limits: Any) -> None:
        services.tenants.update("acme", TenantOptions.parse({"limits": limits}))

    return set_limits


def test_requests_a_minute(call: Caller, stranger: Caller, limit: Callable[..., None]) -> None:
    assert "x-ratelimit-limit-requests" not in call("GET", "/v1/models").headers
    limit(requests_per_minute=3)

    answers = [call("GET", "/v1/models") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    remaining = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers]
    assert remaining == ["2", "1", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    assert answers[0].headers["x-ratelimit-reset-requests"].endswith("s")
    error = answers[3].get_json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 120
    assert "x-should-retry" not in answers[3].headers
    assert stranger("GET", "/v1/models").status_code == 200


def test_waiting_jobs(call: Caller, upload: Callable[..., str], limit: Callable[..., None]) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    limit(queued_jobs=2)

    answers = [call("POST", "/v1/fine_tuning/jobs", json=body) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].get_json()["error"]["code"] == "project_queue_full"
    assert "Retry-After" in answers[2].headers
    call("POST", f"/v1/jobs/{answers[0].get_json()['id']}/cancel")
    assert call("POST", "/v1/fine_tuning/jobs", json=body).status_code == 200


def test_stored_bytes(call: Caller, upload: Callable[..., str], limit: Callable[..., None]) -> None:
    file_id = upload(b"x" * 900)
    limit(storage_bytes=100_000)

    form = {"purpose": "fine-tune", "file": (BytesIO(b"y" * 170_000), "b.txt")}
    answer = call("POST", "/v1/files", data=form)

    assert answer.status_code == 429
    assert answer.get_json()["error"]["code"] == "storage_quota_exceeded"
    assert answer.headers["x-should-retry"] == "false"
    assert upload(b"z" * 90_000)
    call("DELETE", f"/v1/files/{file_id}")


def test_characters_a_month(
    call: Caller, services: Services, model: str, limit: Callable[..., None]
) -> None:
    limit(characters_per_month=1000)
    body = {"model": model, "prompt": "x"}
    assert call("POST", "/v1/completions", json=body).status_code == 200
    with services.database.write() as connection:
        connection.execute(
            sa.insert(usage).values(
                **{**dict.fromkeys(NAMES, 0), "characters_out": 1000},
                id="use_1",
                tenant="acme",
                kind="completions",
                outcome="succeeded",
                billable=True,
                at=services.database.now(connection),
            )
        )
    services.quotas._characters.clear()  # what is looked up every five seconds

    answer = call("POST", "/v1/completions", json=body)

    assert answer.status_code == 429
    assert answer.get_json()["error"]["type"] == "insufficient_quota"


def test_characters_a_minute(call: Caller, model: str, limit: Callable[..., None]) -> None:
    limit(characters_per_minute=30)

    def send(prompt: str) -> int:
        body = {"model": model, "prompt": prompt, "max_tokens": 5}
        return call("POST", "/v1/completions", json=body).status_code

    assert [send("x" * 15), send("x" * 15), send("x")] == [200, 429, 200]


def test_open_completions(
    call: Caller, services: Services, model: str, limit: Callable[..., None]
) -> None:
    limit(concurrent_completions=1)
    body = {"model": model, "prompt": "x"}
    held = services.project_slots.take("acme", 1)

    refused = call("POST", "/v1/completions", json=body)
    held()
    answers = [call("POST", "/v1/completions", json=body).status_code for _ in range(3)]

    assert refused.status_code == 429
    assert answers == [200, 200, 200]
