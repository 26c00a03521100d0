"""From a file to a training by forms alone, without a script."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO

from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN
from web.services import Services


def test_a_file_becomes_a_training(browser: FlaskClient, services: Services) -> None:
    assert "No corpus yet" in browser.get("/corpora").text
    form = {"purpose": "fine-tune", "file": (BytesIO(b"to be or not\n" * 9), "hamlet.txt")}
    uploaded = browser.post("/corpora", data=form, headers=OWN)
    assert uploaded.status_code == 303
    location = uploaded.headers["Location"]
    file_id = location.rpartition("=")[2]
    assert "hamlet.txt" in browser.get("/corpora").text
    assert f'value="{file_id}" selected' in browser.get(location).text

    asked = {
        "training_file": file_id,
        "model": "lstm-tiny",
        "hyperparameters.format": "lines",
        "hyperparameters.max_seconds": "20",
        "hyperparameters.tokenizer": "",
        "alias": "",
    }
    started = browser.post("/trainings/new", data=asked, headers=OWN)
    assert started.status_code == 303
    job = services.jobs.get("acme", started.headers["Location"].rpartition("/")[2])
    assert job.spec["training_file"] == file_id
    assert job.spec["hyperparameters"] == {"format": "lines", "max_seconds": 20.0}


def test_what_is_wrong_stands_beside_its_field(
    browser: FlaskClient, upload: Callable[..., str]
) -> None:
    asked = {
        "training_file": upload(),
        "model": "lstm-tiny",
        "hyperparameters.max_seconds": "-3",
    }
    refused = browser.post("/trainings/new", data=asked, headers=OWN)

    assert refused.status_code == 400
    assert 'id="hyperparameters.max_seconds-problem"' in refused.text
    assert 'value="-3"' in refused.text

    empty = {"purpose": "fine-tune", "file": (BytesIO(b""), "empty.txt")}
    page = browser.post("/corpora", data=empty, headers=OWN)
    assert page.status_code == 400 and 'id="file-problem"' in page.text


def test_corpora_go_on_from_a_key(browser: FlaskClient, upload: Callable[..., str]) -> None:
    ids = [upload(name=f"{number}.txt") for number in range(27)]

    first = browser.get("/corpora").text
    link = re.search(r'href="([^"]+)" rel="next"', first)
    assert link is not None
    second = browser.get(link[1]).text
    assert re.findall(r'data-file="([^"]+)"', first + second) == ids[::-1]
    assert 'rel="next"' not in second


def test_corpora_are_found(browser: FlaskClient, upload: Callable[..., str]) -> None:
    named = upload(name="Moby 100%.txt")
    upload(name="prompts.jsonl", purpose="batch")
    upload()

    assert re.findall(r'data-file="([^"]+)"', browser.get("/corpora?q=moby").text) == [named]
    assert re.findall(r'data-file="([^"]+)"', browser.get("/corpora?q=0%25.t").text) == [named]
    assert "Nothing found" in browser.get("/corpora?q=prompts").text


def test_other_sites_upload_and_train_nothing(browser: FlaskClient) -> None:
    for path in ("/corpora", "/trainings/new"):
        assert browser.post(path, headers={"Origin": "https://evil.example"}).status_code == 403
