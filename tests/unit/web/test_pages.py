"""Health, metrics, the dashboard, headers of every answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest
from flask import Flask

from tests.unit.web.conftest import Caller, caller
from tests.unit.web.in_process import InProcessWakeups
from web.app import create_app
from web.services import Services
from worker.settings import Settings


def test_health(app: Flask) -> None:
    assert app.test_client().get("/healthz").get_json() == {"status": "ok"}


def test_readiness_names_the_part_that_is_away(app: Flask, services: Services) -> None:
    client = app.test_client()
    assert client.get("/readyz").status_code == 200

    assert isinstance(services.wakeups, InProcessWakeups)
    services.wakeups.away = True
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.get_json()["parts"] == {
        "database": "ok",
        "broker": "unavailable",
        "storage": "ok",
    }


def test_metrics(app: Flask, services: Services, call: Caller, upload: Callable[..., str]) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    call("POST", "/v1/fine_tuning/jobs", json=body)
    call("GET", "/v1/unknown/1")
    call("GET", "/v1/unknown/2")

    text = caller(app, services, "default", "admin")("GET", "/metrics").text

    assert 'textgen_jobs{queue="training",state="queued"} 1.0' in text
    line = (
        'textgen_http_requests_total{method="POST",route="/v1/fine_tuning/jobs",status="200"} 1.0'
    )
    assert line in text
    assert 'route="unknown",status="404"} 2.0' in text
    assert "textgen_http_request_seconds_bucket" in text


def test_the_dashboard_shows_what_runs(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    call("POST", "/v1/fine_tuning/jobs", json=body)
    job = services.jobs.claim("training", "w")
    assert job is not None
    services.jobs.set_progress(
        job, {"step": 25, "total_steps": 100, "train_loss": 1.25, "seconds_left": 90}
    )

    page = call("GET", "/").text

    assert job.id in page
    assert re.search(r'<progress[^>]* value="0.25"', page)
    assert "loss 1.250" in page and "1 min 30 s left" in page
    assert "http://localhost/v1" in page


def test_names_are_escaped(call: Caller, services: Services) -> None:
    name = "<script>alert(1)</script>.jsonl"
    form = {"purpose": "batch", "file": (BytesIO(b"x"), name)}
    file_id = call("POST", "/v1/files", data=form).get_json()["id"]
    body = {"input_file_id": file_id, "endpoint": "/v1/completions", "completion_window": "24h"}
    call("POST", "/v1/batches", json=body)

    page = call("GET", "/").text

    assert name not in page and "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("path", ["/", "/docs", "/signin", "/v1/models", "/nothing"])
def test_headers_of_every_answer(call: Caller, path: str) -> None:
    answer = call("GET", path)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/docs", "/signin"])
def test_pages_keep_to_their_policy(call: Caller, path: str) -> None:
    page = call("GET", path).text

    assert 'name="viewport"' in page
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", page)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", page))
    assert not re.search(r'(src|href)="https?:', page)


def test_a_one_time_link_signs_in_once(app: Flask, call: Caller, services: Services) -> None:
    key = services.keys.authenticate(call.key)
    token = services.keys.create_link(key)

    client = app.test_client()
    assert client.get(f"/signin?token={token}").status_code == 303
    assert client.get("/").status_code == 200
    assert app.test_client().get(f"/signin?token={token}").status_code == 401


def test_other_sites_only_where_allowed(services: Services) -> None:
    client = create_app(services).test_client()
    headers = {"Origin": "https://a.example"}
    assert "Access-Control-Allow-Origin" not in client.get("/healthz", headers=headers).headers

    settings = services.settings.model_copy(update={"cors_origins": "https://a.example"})
    allowed = create_app(with_settings(services, settings)).test_client()

    answer = allowed.options("/v1/models", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    other = allowed.get("/healthz", headers={"Origin": "https://b.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


def with_settings(services: Services, settings: Settings) -> Services:
    return replace(services, settings=settings)


@pytest.mark.parametrize("sent_path", ["/text/", "/"])
def test_under_a_path_behind_a_proxy(call: Caller, services: Services, sent_path: str) -> None:
    public = services.settings.model_copy(update={"public_url": "https://a.example/text"})
    client = create_app(with_settings(services, public)).test_client()

    assert client.get(sent_path).headers["Location"] == "/text/signin?next=/"
    answer = client.post(f"{sent_path}signin", data={"key": call.key})
    assert answer.headers["Location"] == "/text/"
    assert "Secure" in answer.headers["Set-Cookie"]
    headers = {"Authorization": f"Bearer {call.key}"}
    page = client.get(sent_path, headers=headers).text
    assert 'href="/text/static/style.css"' in page
    assert "https://a.example/text/v1" in page
