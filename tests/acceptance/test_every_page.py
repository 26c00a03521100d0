"""Every page that the service says it has, in a real Chromium, with something on it to show."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from selenium import webdriver

from tests.acceptance.browsing import check_page, sign_in
from tests.acceptance.conftest import train_twice
from tests.stack import Stack, completion_lines, ended, wait_for_batch

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PARAMETER = re.compile(r"{(\w+)}")
QUERIES = {
    "/usage": ("", "?by=model", "?by=api_key_id&show=compute"),
    "/trainings/new": ("?file={file_id}", "?model={model_id}"),
    "/trainings/compare": ("?ids[]={training_id}&ids[]={other_training_id}",),
    "/invoices/draft": ("?project=default&month={month}",),
    "/playground": ("?model={model_id}",),
}
ALIKE = {"/docs": "details:nth-of-type(n+20)"}
FILES = {"/models/{model_id}/report"}  # to be kept, so a browser shows none; below it does


def started(http: httpx.Client, path: str, body: dict[str, Any]) -> str:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def things(
    http: httpx.Client, client: openai.OpenAI, verses_file: str, model: str
) -> dict[str, list[str]]:
    """By the name of a parameter the ids of what there is; of jobs one of each kind."""
    parts = {"parts": ["prediction", "calibration", "samples", "memorisation"]}
    asked = {
        "/v1/examinations": {"file": verses_file},
        "/v1/evaluations": {"model": model, "options": parts},
        "/v1/scores": {"model": model, "input": ["The king", "qqq"]},
    }
    jobs = [started(http, path, body) for path, body in asked.items()]
    lines = client.files.create(file=("lines.jsonl", completion_lines(model, 5)), purpose="batch")
    batch = client.batches.create(
        input_file_id=lines.id, endpoint="/v1/completions", completion_window="24h"
    ).id
    trainings = train_twice(client, verses_file)
    wait_for_batch(client, batch)
    for path, job in zip(asked, jobs, strict=True):
        assert ended(http, f"{path}/{job}")["status"] == "succeeded"
    project = "/v1/organization/projects/default"
    now = datetime.now(UTC)
    year_ago = {"month": f"{now.year - 1}-{now.month:02}", "issue": True}
    hook = {"name": "hook", "url": "https://example.com", "event_types": ["batch.completed"]}
    return {
        "job_id": [*trainings, *jobs],
        "training_id": trainings[:1],
        "other_training_id": trainings[1:],
        "batch_id": [batch],
        "file_id": [verses_file],
        "model_id": [model],
        "key_id": [started(http, f"{project}/api_keys", {"name": "pages"})],
        "invoice_id": [started(http, f"{project}/invoices", year_ago)],
        "month": [now.strftime("%Y-%m")],
        "webhook_endpoint_id": [started(http, "/v1/webhook_endpoints", hook)],
    }


def addresses(http: httpx.Client, things: dict[str, list[str]]) -> list[str]:
    """Of every page that /openapi.json knows of."""
    found = []
    for path, methods in http.get("/openapi.json").json()["paths"].items():
        answers = methods.get("get", {}).get("responses", {})
        if "text/html" in answers.get("200", {}).get("content", {}) and path not in FILES:
            for query in QUERIES.get(path, ("",)):
                names = PARAMETER.findall(path + query)
                found += [
                    (path + query).format_map(dict(zip(names, ids, strict=True)))
                    for ids in product(*(things[name] for name in names))
                ]
    return found


@pytest.mark.parametrize("width", [1440, 390])
def test_each_is_sound(
    browser: webdriver.Chrome,
    stack: Stack,
    http: httpx.Client,
    things: dict[str, list[str]],
    width: int,
) -> None:
    sign_in(browser, stack, "/", width)
    for address in addresses(http, things):
        browser.get(stack.base_url + address)
        assert browser.find_elements("css selector", "main"), address
        check_page(browser, alike=ALIKE.get(address, ""))


@pytest.mark.parametrize("width", [1440, 390])
def test_a_report_that_was_kept_is_sound(
    browser: webdriver.Chrome,
    http: httpx.Client,
    things: dict[str, list[str]],
    tmp_path: Path,
    width: int,
) -> None:
    (model,) = things["model_id"]
    report = tmp_path / "report.html"
    report.write_bytes(http.get(f"/models/{model}/report").content)
    browser.set_window_size(width, 900)
    browser.get(report.as_uri())
    assert "Evaluation of" in browser.find_element("tag name", "body").text
    check_page(browser)
