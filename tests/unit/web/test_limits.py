"""What a plan allows, in the words and headers that clients know."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import EnvironBuilder, TestResponse

from tests.random_models import BundleMaker
from tests.unit.web.conftest import Caller
from tests.unit.web.test_tokenization import store
from textgen.bundles.bundle import save_bundle
from textgen.tokenizers import ByteTokenizer
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


def is_refused(answer: TestResponse) -> bool:
    error = answer.get_json().get("error") or {}
    return (answer.status_code, error.get("code")) == (429, "storage_quota_exceeded")


def begin(call: Caller, size: int) -> TestResponse:
    body = {"purpose": "batch", "filename": "a", "bytes": size, "mime_type": "text/plain"}
    return call("POST", "/v1/uploads", json=body)


def add(call: Caller, upload_id: str, size: int) -> TestResponse:
    form = {"data": (BytesIO(b"x" * size), "a")}
    return call("POST", f"/v1/uploads/{upload_id}/parts", data=form)


def complete(call: Caller, upload_id: str, *part_ids: str) -> TestResponse:
    path = f"/v1/uploads/{upload_id}/complete"
    return call("POST", path, json={"part_ids": list(part_ids)})


def test_what_is_announced_for_uploads_is_stored_bytes(
    call: Caller, services: Services, limit: Callable[..., None]
) -> None:
    limit(storage_bytes=1000)
    first = begin(call, 600).get_json()["id"]

    assert is_refused(begin(call, 600))
    second = begin(call, 400).get_json()["id"]
    part = add(call, first, 600).get_json()["id"]
    assert is_refused(add(call, first, 600))  # once more, and now there is no room for it
    assert add(call, second, 401).status_code == 413  # more than the whole that was announced
    call("POST", f"/v1/uploads/{second}/cancel")
    assert complete(call, first, part).status_code == 200
    assert is_refused(begin(call, 401))
    assert begin(call, 400).status_code == 200
    assert list(services.store.list("uploads")) == []


def test_an_upload_for_which_there_is_no_room_any_more_is_not_published(
    call: Caller, services: Services, limit: Callable[..., None]
) -> None:
    limit(storage_bytes=1000)
    upload_id = begin(call, 600).get_json()["id"]
    part = add(call, upload_id, 600).get_json()["id"]
    limit(storage_bytes=500)

    assert is_refused(complete(call, upload_id, part))

    assert list(services.store.list("files")) == []
    limit(storage_bytes=1000)
    assert complete(call, upload_id, part).status_code == 200


@pytest.mark.parametrize("path", ["/v1/files", "/v1/models"])
def test_a_body_that_does_not_say_how_long_it_is(
    call: Caller,
    services: Services,
    make_bundle: BundleMaker,
    limit: Callable[..., None],
    tmp_path: Path,
    path: str,
) -> None:
    limit(storage_bytes=1000)
    made = make_bundle(tokenizer=ByteTokenizer())
    save_bundle(tmp_path / "a.safetensors", made.header, made.model.state_dict())
    content = (tmp_path / "a.safetensors").read_bytes() if path == "/v1/models" else b"x" * 1001
    fields = {"purpose": "fine-tune"} if path == "/v1/files" else {}
    form = EnvironBuilder(method="POST", data={**fields, "file": (BytesIO(content), "b.txt")})
    sent = form.get_environ()

    answer = call(
        "POST",
        path,
        input_stream=BytesIO(sent["wsgi.input"].read()),
        content_type=sent["CONTENT_TYPE"],
        environ_overrides={"wsgi.input_terminated": True},
        headers={"Transfer-Encoding": "chunked"},
    )

    assert is_refused(answer)
    assert [*services.store.list("files"), *services.store.list("models")] == []


def use(services: Services, name: str, **amounts: float) -> None:
    with services.database.write() as connection:
        connection.execute(
            sa.insert(usage).values(
                **{**dict.fromkeys(NAMES, 0), **amounts},
                id=name,
                tenant="acme",
                kind="completions",
                outcome="succeeded",
                billable=True,
                at=services.database.now(connection),
            )
        )
    services.monthly.forget("acme")  # what is looked up every five seconds


@pytest.mark.parametrize(
    ("quota", "amounts"),
    [
        ("characters_per_month", {"characters_out": 1000}),
        ("tokens_per_month", {"tokens_in": 400, "tokens_out": 600}),
        ("compute_seconds_per_month", {"compute_seconds": 1000.5}),
    ],
)
def test_quotas_of_a_month(
    call: Caller,
    stranger: Caller,
    services: Services,
    model: str,
    limit: Callable[..., None],
    quota: str,
    amounts: dict[str, float],
) -> None:
    limit(**{quota: 1000})
    body = {"model": model, "prompt": "x"}
    assert call("POST", "/v1/completions", json=body).status_code == 200
    use(services, "use_1", **amounts)

    answer = call("POST", "/v1/completions", json=body)
    (told,) = call("GET", "/v1/usage/quotas").get_json()["data"]

    assert answer.status_code == 429
    error = answer.get_json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert error["param"] == told["name"] == quota
    assert answer.headers["x-should-retry"] == "false"
    assert (told["limit"], told["remaining"]) == (1000, 0)
    assert stranger("GET", "/v1/usage/quotas").get_json()["data"] == []
    assert stranger("GET", "/v1/usage/quotas?project_id=acme").status_code == 404


def test_a_retry_is_checked_as_a_new_job(
    call: Caller, upload: Callable[..., str], limit: Callable[..., None]
) -> None:
    wanted = {"hyperparameters": {"max_seconds": 100}}
    body = {"model": "lstm-tiny", "training_file": upload(), **wanted}
    first = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]
    call("POST", f"/v1/jobs/{first}/cancel")
    once = {"headers": {"Idempotency-Key": "once"}}

    def retried(**options: Any) -> tuple[str | None, str | None]:
        answer = call("POST", f"/v1/jobs/{first}/retry", **options).get_json()
        return answer.get("id"), (answer["error"] or {}).get("code")

    limit(storage_bytes=1)
    assert retried() == (None, "storage_quota_exceeded")
    limit(storage_bytes=None, compute_seconds_per_month=50)
    assert retried() == (None, "insufficient_quota")
    limit(compute_seconds_per_month=None, queued_jobs=1)
    again = retried(**once)
    assert again[0] != first and retried(**once) == again
    assert retried() == (None, "project_queue_full")


def test_tokens_a_minute(
    call: Caller, services: Services, make_bundle: BundleMaker, limit: Callable[..., None]
) -> None:
    store(services, make_bundle, "bytes", ByteTokenizer())
    limit(tokens_per_minute=30)

    def send(prompt: str | list[int]) -> Any:
        body = {"model": "ft:bytes", "prompt": prompt, "max_tokens": 5}
        return call("POST", "/v1/completions", json=body)

    answers = [send("\u6211" * 5), send([1] * 8), send([1])]  # a character of three bytes

    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "30"
    assert answers[0].headers["x-ratelimit-remaining-tokens"] == "10"
    assert answers[1].headers["x-ratelimit-remaining-tokens"] == "10"
    assert answers[2].headers["x-ratelimit-remaining-tokens"] == "4"
    assert answers[2].headers["x-ratelimit-reset-tokens"].endswith("s")
    assert "tokens a minute" in answers[1].get_json()["error"]["message"]


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
