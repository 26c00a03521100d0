"""Texts that are looked over: as jobs of the API, and on the page of a corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, Caller
from textgen.corpus.doctor import examine
from textgen.corpus.sources import Source
from web.services import Services

TEXT = b"to be or not to be, that is the question\n" * 60


def look(services: Services, folder: Path) -> None:
    """What a worker does with the oldest examination that waits."""
    job = services.jobs.claim("training", "w")
    assert job is not None and job.kind == "examination"
    (folder / "text").write_bytes(TEXT)
    report = examine(Source(folder / "text", name="hamlet.txt"), job.spec["seconds"], count=False)
    services.jobs.succeed(job, {"report": report.as_dict()})


def test_an_examination(
    call: Caller, upload: Callable[..., str], services: Services, tmp_path: Path
) -> None:
    file_id = upload(TEXT)
    made = call("POST", "/v1/examinations", json={"file": file_id, "seconds": 60}).get_json()
    assert (made["status"], made["report"], made["file"]) == ("queued", None, file_id)

    look(services, tmp_path)

    found = call("GET", f"/v1/examinations/{made['id']}").get_json()
    assert found["status"] == "succeeded" and found["report"]["characters"] == len(TEXT)
    assert call("GET", "/v1/examinations").get_json()["data"] == [found]
    second = call("POST", "/v1/examinations", json={"file": file_id}).get_json()["id"]
    cancelled = call("POST", f"/v1/examinations/{second}/cancel").get_json()
    assert cancelled["status"] == "cancelled"


def test_the_page_of_a_corpus(
    browser: FlaskClient, upload: Callable[..., str], services: Services, tmp_path: Path
) -> None:
    file_id = upload(TEXT, name="hamlet.txt")
    where = f"/corpora/{file_id}"
    assert "Nobody has looked it over yet" in browser.get(where).text

    assert browser.post(f"{where}/examine", headers=OWN).headers["Location"] == where
    assert "The doctor looks it over." in browser.get(where).text
    look(services, tmp_path)

    page = browser.get(where).text
    assert "hamlet.txt" in page and "2,460" in page
    assert "recommended" in page and f"/trainings/new?file={file_id}&amp;seconds=" in page
    assert "␣" in page and "Nothing odd was found" not in page
    assert "<li>2,460 characters are little: the model will know much of it by heart.</li>" in page
    asked = {"Accept-Language": "zh"}
    assert "characters are little" not in browser.get(where, headers=asked).text
    assert browser.get("/corpora/file-none").status_code == 404


def test_a_corpus_is_deleted(
    browser: FlaskClient, call: Caller, upload: Callable[..., str]
) -> None:
    file_id = upload(name="old.txt")
    job = call("POST", "/v1/examinations", json={"file": file_id}).get_json()["id"]

    asked = browser.get(f"/corpora/{file_id}/delete").text
    assert "old.txt" in asked and job in asked
    assert browser.post(f"/corpora/{file_id}/delete", headers=OWN).status_code == 409
    call("POST", f"/v1/examinations/{job}/cancel")
    gone = browser.post(f"/corpora/{file_id}/delete", headers=OWN)
    assert (gone.status_code, gone.headers["Location"]) == (303, "/corpora")
    assert browser.get(f"/corpora/{file_id}").status_code == 404


def test_a_text_that_cannot_be_learnt(
    browser: FlaskClient, upload: Callable[..., str], services: Services
) -> None:
    file_id = upload(b"x")
    browser.post(f"/corpora/{file_id}/examine", headers=OWN)
    job = services.jobs.claim("training", "w")
    assert job is not None
    services.jobs.fail(job, {"code": "corpus_too_small", "message": "<b>small", "param": None})

    page = browser.get(f"/corpora/{file_id}").text
    assert "cannot be trained on" in page and "&lt;b&gt;small" in page
