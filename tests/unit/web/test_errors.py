"""Every error, whoever raises it, reaches the client in OpenAI's envelope."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.unit.web.conftest import Caller
from textgen.errors import EngineFull, InvalidOption, TextgenError
from web.errors import answer_for
from web.services import Services
from worker import errors
from worker.storage.database import Database


def error_of(answer: Any) -> dict[str, Any]:
    body = answer.get_json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code", "doc_url"}
    assert answer.headers["x-request-id"].startswith("req_")
    return dict(body["error"])


@pytest.mark.parametrize(
    ("error", "status", "retry", "should_retry"),
    [
        (InvalidOption("no"), 400, None, None),
        (errors.Unauthenticated("no"), 401, None, None),
        (errors.Forbidden("no"), 403, None, None),
        (errors.NotFound("no"), 404, None, None),
        (errors.Conflict("no"), 409, None, "false"),
        (errors.TooLarge("no"), 413, None, None),
        (errors.IdempotencyMismatch("no"), 422, None, None),
        (errors.QueueFull("no"), 429, "30", None),
        (EngineFull("no"), 429, "1", None),
        (errors.DatabaseUnavailable("no"), 503, "2", None),
        (errors.NoWorker("no"), 503, "2", None),
        (errors.DiskFull("no"), 507, "60", None),
        (errors.CorruptArtifact("no"), 500, None, "false"),
        (TextgenError("no"), 500, None, None),
    ],
)
def test_the_table(
    app: Flask,
    call: Caller,
    error: TextgenError,
    status: int,
    retry: str | None,
    should_retry: str | None,
) -> None:
    def fail(file_id: str) -> None:
        raise error

    app.view_functions["files.show"] = fail

    answer = call("GET", "/v1/files/any")

    assert answer.status_code == status
    assert error_of(answer)["message"] == "no"
    assert error_of(answer)["code"] == error.code
    assert answer.headers.get("Retry-After") == retry
    assert answer.headers.get("x-should-retry") == should_retry


def test_an_error_without_a_line_of_its_own_takes_its_parents() -> None:
    class Nearer(errors.Conflict):
        pass

    assert answer_for(Nearer("no")) is answer_for(errors.Conflict("no"))


def test_unknown_route(call: Caller) -> None:
    answer = call("GET", "/v1/nothing")

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "unknown_url"


def test_wrong_method(call: Caller) -> None:
    answer = call("DELETE", "/v1/completions")

    assert answer.status_code == 405
    assert error_of(answer)["code"] == "method_not_allowed"
    assert "POST" in answer.headers["Allow"]


def test_a_body_over_the_limit(call: Caller, services: Services) -> None:
    answer = call("POST", "/v1/batches", data=b"x" * (services.settings.max_body_bytes + 1))

    assert answer.status_code == 413
    assert error_of(answer)["code"] == "too_large"


def test_the_unforeseen_tells_the_client_only_where_to_look(
    app: Flask, call: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(file_id: str) -> None:
        raise ZeroDivisionError("secret detail")

    app.view_functions["files.show"] = fail

    answer = call("GET", "/v1/files/any")

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in error_of(answer)["message"]
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model": "a", "model": "b"}',
        b'{"seed": NaN}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_json_object_is_refused(call: Caller, body: bytes) -> None:
    answer = call("POST", "/v1/fine_tuning/jobs", data=body)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_json"


def test_a_compressed_body_is_refused(call: Caller) -> None:
    answer = call("POST", "/v1/fine_tuning/jobs", data=b"{}", headers={"Content-Encoding": "gzip"})

    assert answer.status_code == 415


def test_an_unknown_field_names_the_nearest(call: Caller) -> None:
    body = {"input_file_id": "f", "endpoint": "/v1/completions", "completion_window": "24h"}

    answer = call("POST", "/v1/batches", json={**body, "meta_data": {}})

    assert answer.status_code == 400
    assert error_of(answer)["param"] == "meta_data"
    assert "'metadata'" in error_of(answer)["message"]


def test_an_unknown_query_option_is_refused(call: Caller) -> None:
    answer = call("GET", "/v1/models?limt=3")

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "unknown_option"


def test_a_database_that_is_away_is_a_503(
    app: Flask, call: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.keys.authenticate(call.key)  # known by now
    away = Database("sqlite:////nowhere/at/all.db")
    monkeypatch.setattr(services.files, "_database", away)

    answer = call("GET", "/v1/files")

    assert answer.status_code == 503
    assert error_of(answer)["code"] == "database_unavailable"
    assert answer.headers["Retry-After"] == "2"


def test_a_code_leads_to_its_place_on_a_page_that_is_open_to_all(call: Caller, app: Flask) -> None:
    error = error_of(call("GET", "/v1/jobs/nothing"))
    url, _, place = error["doc_url"].partition("#")

    page = app.test_client().get(url)

    assert error["code"] == place == "job_not_found"
    assert page.status_code == 200
    assert f'id="{place}"' in page.text
    assert "There is no job" in page.text


def test_a_code_of_http_itself_leads_nowhere(call: Caller) -> None:
    assert error_of(call("GET", "/v1/nothing"))["doc_url"] is None


def test_a_page_of_an_error_links_its_code(call: Caller) -> None:
    page = call("GET", "/jobs/nothing")

    assert page.status_code == 404
    assert page.mimetype == "text/html"
    assert 'href="http://localhost/docs/errors#job_not_found"' in page.text
