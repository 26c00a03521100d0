"""Batches by forms alone: from a file of prompts to its answers, and again what failed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.web.conftest import OWN, Caller
from web.services import Services
from worker.jobs.rows import Job


def send(browser: FlaskClient, content: bytes, name: str, **fields: str) -> TestResponse:
    form = {"file": (BytesIO(content), name), **fields}
    return browser.post("/batches/new", data=form, headers=OWN)


def lines_of(services: Services, answer: TestResponse) -> list[dict[str, Any]]:
    assert answer.status_code == 303, answer.text
    job = services.jobs.get("acme", answer.headers["Location"].rpartition("/")[2])
    row = services.files.get("acme", job.spec["input_file"]["id"])
    with services.files.open(row) as stream:
        return [json.loads(line) for line in stream]


def shown(page: str) -> list[str]:
    return re.findall(r'data-job="([^"]+)"', page)


def test_prompts_that_are_there_already_need_not_be_sent_again(
    browser: FlaskClient, upload: Callable[..., str], services: Services, model: str
) -> None:
    there = upload(b"id,start\n1,Once\n", "user_data", "tales.csv")

    def start(**fields: str) -> TestResponse:
        data = {"uploaded": there, "model": model, **fields}
        content = "multipart/form-data"
        return browser.post("/batches/new", data=data, headers=OWN, content_type=content)

    refused = start(column="body")
    assert refused.status_code == 400
    assert "no column &#39;body&#39;" in refused.text
    assert f'name="uploaded" value="{there}"' in refused.text
    assert "tales.csv is uploaded already" in refused.text
    assert not re.search(r'<input type="file"[^>]* required', refused.text)

    lines = lines_of(services, start(column="start"))
    assert [line["body"]["prompt"] for line in lines] == ["Once"]
    assert start(uploaded="").status_code == 400
    missing = start(uploaded="file-none")
    assert missing.status_code == 404
    assert re.search(r'<input type="file"[^>]* required', missing.text)
    another = send(browser, b"Twice\n", "other.txt", model=model, uploaded=there)
    assert [line["body"]["prompt"] for line in lines_of(services, another)] == ["Twice"]


def test_a_table_becomes_the_lines_of_a_batch(
    browser: FlaskClient, services: Services, model: str
) -> None:
    assert "No batch yet" in browser.get("/batches").text
    page = browser.get("/batches/new").text
    assert f'value="{model}" selected' in page
    assert re.search(r'id="max_tokens"[^>]* value="400"', page)

    answer = send(
        browser,
        'id,start\n1,"Once,\nupon"\n2,从前\n'.encode(),
        "tales.csv",
        model=model,
        column="start",
        max_tokens="7",
        temperature="0.5, 1",
        seed="",
        stop="END\r\n\\n\\n",
    )

    lines = lines_of(services, answer)
    assert [line["body"]["prompt"] for line in lines] == ["Once,\nupon", "从前"]
    rest = {"model": model, "max_tokens": 7, "temperature": [0.5, 1.0], "stop": ["END", "\n\n"]}
    assert lines[1]["body"] == {**rest, "prompt": "从前"}
    page = browser.get(answer.headers["Location"]).text
    assert "tales.jsonl" in page and "/cancel" in page and "/retry_failed" not in page
    assert [row.filename for row in services.files.list("acme").items] == ["tales.jsonl"]


def test_ready_lines_say_their_endpoint_and_model(browser: FlaskClient, services: Services) -> None:
    ready = {
        "custom_id": "x",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": [{"role": "user", "content": "\ud800"}]},
    }
    answer = send(browser, json.dumps(ready).encode() + b"\n", "lines.jsonl")

    assert lines_of(services, answer) == [ready]
    job = services.jobs.claim("batch", "w")
    assert job is not None and job.spec["endpoint"] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("content", "name", "fields", "param"),
    [
        (b"a\n", "a.txt", {}, "model"),
        (b"\n\n", "a.txt", {"model": "m"}, "file"),
        (b"a,b\n1,2\n", "a.csv", {"model": "m"}, "column"),
        (b"prompt\n\xff\n", "a.csv", {"model": "m"}, "file"),
        (b'{"text": 1}\n', "a.jsonl", {"model": "m"}, "file"),
        (b'{"body": 1}\n', "a.jsonl", {"model": "m"}, "file"),
        (b'{"body": {}, "url": "/v1/images"}\n', "a.jsonl", {"model": "m"}, "file"),
        (b"a\n", "a.txt", {"model": "m", "temperature": "9"}, "temperature"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    browser: FlaskClient,
    services: Services,
    content: bytes,
    name: str,
    fields: dict[str, str],
    param: str,
) -> None:
    answer = send(browser, content, name, **fields)

    assert answer.status_code == 400
    assert f'id="{param}-problem"' in answer.text
    assert services.files.list("acme").items == []
    assert list((services.settings.home / "artifacts").rglob("content")) == []


def test_batches_are_found_and_paged(
    browser: FlaskClient, services: Services, call: Caller
) -> None:
    ids = [
        send(browser, b"a\n", f"list-{number}.txt", model="m")
        .headers["Location"]
        .rpartition("/")[2]
        for number in range(27)
    ]
    services.jobs.request_cancel("acme", ids[3])

    first = browser.get("/batches").text
    link = re.search(r'href="([^"]+)" rel="next"', first)
    assert link is not None
    second = browser.get(link[1].replace("&amp;", "&")).text
    assert shown(first) + shown(second) == ids[::-1]
    assert f'href="/batches/{ids[26]}"' in first
    assert shown(browser.get("/batches?q=list-11.").text) == [ids[11]]
    assert shown(browser.get("/batches?state=cancelled").text) == [ids[3]]
    assert "Nothing found" in browser.get("/batches?q=hamlet").text
    assert shown(browser.get("/jobs?kind=training").text) == []


def stored(services: Services, name: str, rows: Sequence[dict[str, Any]]) -> str:
    with services.store.create(f"files/{name}") as staging:
        with staging.open("content") as stream:
            for row in rows:
                stream.write(json.dumps(row).encode() + b"\n")
        staging.commit()
    return services.files.create(
        "acme", filename=name, purpose="batch_output", artifact=f"files/{name}", file="content"
    ).id


@pytest.fixture
def ended(browser: FlaskClient, services: Services) -> Job:
    """Two lines, of which one failed."""
    send(browser, b"good\nbad\n", "two.txt", model="m")
    job = services.jobs.claim("batch", "w")
    assert job is not None
    services.jobs.plan_shards(job, {"lines": 2}, [2])
    text = {"choices": [{"text": "<b>written</b>", "finish_reason": "stop"}]}
    good = {"custom_id": "line-1", "response": {"status_code": 200, "body": text}, "error": None}
    said = {"error": {"message": "too <i>long"}}
    bad = {"custom_id": "line-2", "response": {"status_code": 400, "body": said}, "error": None}
    result = {
        "output_file_id": stored(services, "good", [good]),
        "error_file_id": stored(services, "bad", [bad]),
        "request_counts": {"total": 2, "completed": 1, "failed": 1},
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
    services.jobs.succeed(job, result)
    return job


def test_its_page_shows_answers_and_failures_and_runs_the_failures_again(
    browser: FlaskClient, services: Services, ended: Job
) -> None:
    page = browser.get(f"/batches/{ended.id}").text

    assert "&lt;b&gt;written&lt;/b&gt;" in page and "too &lt;i&gt;long" in page
    assert f"/v1/batches/{ended.id}/output" in page and f"/v1/batches/{ended.id}/errors" in page
    assert "/cancel" not in page

    assert "1 of 2 lines · 1 failed" in browser.get("/batches").text

    answer = browser.post(f"/batches/{ended.id}/retry_failed", headers=OWN)
    assert [line["custom_id"] for line in lines_of(services, answer)] == ["line-2"]
    page = browser.get(answer.headers["Location"]).text
    assert "two_failed.jsonl" in page and f'href="/batches/{ended.id}"' in page


def test_a_running_batch_is_followed_and_cancelled(
    browser: FlaskClient, services: Services
) -> None:
    location = send(browser, b"a\nb\nc\n", "three.txt", model="m").headers["Location"]
    job = services.jobs.claim("batch", "w")
    assert job is not None
    counts = {"total": 3, "completed": 1, "failed": 1}
    services.jobs.set_progress(job, {"request_counts": counts})

    page = browser.get(location).text
    assert re.search(r'<progress[^>]* value="0.66', page)
    assert f"/v1/jobs/{job.id}/events?stream=true&amp;progress=true" in page

    assert browser.post(f"{location}/cancel", headers=OWN).status_code == 303
    assert "/cancel" not in browser.get(location).text


def test_a_file_that_cannot_be_run_has_its_lines_named(
    browser: FlaskClient, services: Services
) -> None:
    location = send(browser, b"a\n", "odd.txt", model="m").headers["Location"]
    job = services.jobs.claim("batch", "w")
    assert job is not None
    fault = {"code": "duplicate_custom_id", "line": 7, "message": "Twice.", "param": None}
    services.jobs.fail(job, {**fault, "errors": [fault]})

    page = browser.get(location).text
    assert "Twice." in page and ">7</td>" in page
    assert browser.post(f"{location}/retry_failed", headers=OWN).status_code == 409


def test_other_sites_start_and_change_nothing(browser: FlaskClient, ended: Job) -> None:
    for path in (
        "/batches/new",
        f"/batches/{ended.id}/retry_failed",
        f"/batches/{ended.id}/cancel",
    ):
        assert browser.post(path, headers={"Origin": "https://evil.example"}).status_code == 403
