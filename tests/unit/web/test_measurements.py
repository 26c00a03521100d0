"""Scorings and evaluations as clients ask for them and see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.unit.web.conftest import Caller, caller, publish
from web.services import Services
from worker.jobs.rows import Job
from worker.storage.models import NewModel, add_model

PATHS = {"scoring": "/v1/scores", "evaluation": "/v1/evaluations"}


def claim(services: Services) -> Job:
    job = services.jobs.claim("training", "test-worker")
    assert job is not None
    return job


@pytest.fixture
def text(upload: Callable[..., str]) -> str:
    return upload(b"to be\nor not\n", "user_data", "today.log")


@pytest.fixture
def trained(call: Caller, services: Services, upload: Callable[..., str]) -> dict[str, Any]:
    """A training that has succeeded: its model and its file."""
    file = upload()
    body = {
        "model": "lstm-tiny",
        "training_file": file,
        "hyperparameters": {"format": "lines", "max_steps": 5},
    }
    assert call("POST", "/v1/fine_tuning/jobs", json=body).status_code == 200
    job = claim(services)
    new = NewModel(id="ft:lstm-tiny:acme::x", owned_by="acme", artifact="jobs/j/1/m", file="m")

    def publish(connection: Any) -> None:
        add_model(connection, "acme", new, services.database.now(connection), job_id=job.id)

    services.jobs.succeed(job, {"fine_tuned_model": new.id}, publish)
    return {"model": new.id, "file": file, "job": job.id}


@pytest.mark.parametrize("kind", PATHS)
def test_the_whole_life(call: Caller, services: Services, model: str, text: str, kind: str) -> None:
    path = PATHS[kind]
    made = call("POST", path, json={"model": model, "file": text, "metadata": {"a": "b"}})
    assert made.status_code == 200, made.text
    job_id = made.get_json()["id"]
    assert made.get_json()["status"] == "queued"
    assert services.wakeups.published == ["training"]  # type: ignore[attr-defined]

    job = claim(services)
    progress = {"done": 1, "total": 4, "unit": "rows", "rate": 2.0, "seconds_left": 1.5}
    services.jobs.set_progress(job, progress)
    running = call("GET", f"{path}/{job_id}").get_json()
    assert (running["status"], running["progress"]) == ("running", progress)
    assert (running["model"], running["file"]) == (model, text)
    assert running["estimated_finish"] >= running["started_at"] + 1
    page = call("GET", "/", headers={"Accept": "text/html"}).text
    assert "1 / 4 rows" in page and f"{model} · today.log" in page
    assert call("DELETE", f"/v1/files/{text}").status_code == 409
    assert call("DELETE", f"/v1/models/{model}").status_code == 409

    services.jobs.succeed(job, {"summary": None, "page_file_id": "file-p"})
    done = call("GET", f"{path}/{job_id}").get_json()
    assert (done["status"], done["metadata"]) == ("succeeded", {"a": "b"})
    listed = call("GET", f"/v1/jobs?kind={kind}").get_json()["data"]
    assert [found["id"] for found in listed] == [job_id]
    assert "artifact" not in str(listed[0]["spec"]["input_file"])
    assert call("GET", f"{path}?metadata[a]=c").get_json()["data"] == []
    assert len(call("GET", f"{path}?metadata[a]=b").get_json()["data"]) == 1


@pytest.mark.parametrize("path", PATHS.values())
@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "lstm-auto"}, 400, "model_not_trained", "model"),
        ({"model": "unknown"}, 404, "model_not_found", "model"),
        ({"model": "ftjob-unknown"}, 404, "model_not_found", "model"),
        ({"file": "file-unknown"}, 400, "file_not_found", "file"),
        ({"fiel": "x"}, 400, "unknown_option", "fiel"),
        ({"format": "pdf"}, 400, "invalid_value", "format"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    call: Caller,
    model: str,
    text: str,
    path: str,
    change: dict[str, Any],
    status: int,
    code: str,
    param: str,
) -> None:
    answer = call("POST", path, json={"model": model, "file": text, **change})

    assert answer.status_code == status, answer.text
    error = answer.get_json()["error"]
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize("path", PATHS.values())
def test_files_of_other_purposes_are_refused(
    call: Caller, model: str, upload: Callable[..., str], path: str
) -> None:
    answer = call("POST", path, json={"model": model, "file": upload(purpose="batch")})

    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "wrong_purpose"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "one of them"),
        ({"input": "x", "file": "file-1"}, "one of them"),
        ({"input": ["x"] * 257}, "as a file"),
        ({"input": ["x" * 20_000] * 2}, "as a file"),
        ({"input": "a\ud800"}, "surrogate"),
        ({"input": [""]}, "at least 1"),
        ({"input": "x", "worst": 0}, "worst"),
        ({"input": "x", "format": "text"}, "format"),
    ],
)
def test_a_scoring_needs_one_thing_to_score(
    call: Caller, model: str, change: dict[str, Any], words: str
) -> None:
    answer = call("POST", "/v1/scores", json={"model": model, **change})

    assert answer.status_code == 400
    assert words in answer.get_json()["error"]["message"]


def test_a_model_that_only_fills_gaps_cannot_score(call: Caller, services: Services) -> None:
    new = NewModel(
        id="ft:gaps",
        owned_by="acme",
        artifact="jobs/j/1/m",
        file="m",
        header={"objectives": ["infill"]},
    )
    publish(services, new)

    answer = call("POST", "/v1/scores", json={"model": "ft:gaps", "input": "x"})

    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "objective_not_learnt"


def test_texts_are_scored_without_a_file(call: Caller, services: Services, model: str) -> None:
    answer = call("POST", "/v1/scores", json={"model": model, "input": "to be"})

    assert (answer.status_code, answer.get_json()["file"]) == (200, None)
    assert claim(services).spec["input"] == ["to be"]


def test_an_evaluation_takes_the_files_of_the_training(
    call: Caller, services: Services, trained: dict[str, Any]
) -> None:
    body = {"model": trained["job"], "options": {"samples": 5}}
    made = call("POST", "/v1/evaluations", json=body).get_json()

    assert (made["model"], made["training_files"]) == (trained["model"], [trained["file"]])
    assert (made["file"], made["options"]) == (None, {"samples": 5})
    spec = claim(services).spec
    assert spec["training_reading"] == {"format": "lines"}
    assert call("DELETE", f"/v1/files/{trained['file']}").status_code == 409


def test_without_them_it_asks_for_a_file(call: Caller, trained: dict[str, Any], text: str) -> None:
    assert call("DELETE", f"/v1/files/{trained['file']}").status_code == 200

    refused = call("POST", "/v1/evaluations", json={"model": trained["model"]})
    taken = call("POST", "/v1/evaluations", json={"model": trained["model"], "file": text})

    assert refused.status_code == 400
    assert refused.get_json()["error"]["code"] == "training_files_gone"
    assert (taken.status_code, taken.get_json()["training_files"]) == (200, [])


def test_an_unknown_option_names_the_nearest(call: Caller, model: str, text: str) -> None:
    body = {"model": model, "file": text, "options": {"sample": 5}}
    answer = call("POST", "/v1/evaluations", json=body)

    error = answer.get_json()["error"]
    assert (answer.status_code, error["param"]) == (400, "options.sample")
    assert "'samples'" in error["message"]


def test_an_evaluation_cannot_be_paused(
    call: Caller, services: Services, model: str, text: str
) -> None:
    made = call("POST", "/v1/evaluations", json={"model": model, "file": text}).get_json()
    claim(services)

    answer = call("POST", f"/v1/jobs/{made['id']}/pause")

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "job_not_pausable")


@pytest.mark.parametrize("path", PATHS.values())
def test_others_see_nothing(
    call: Caller, stranger: Caller, model: str, text: str, path: str
) -> None:
    made = call("POST", path, json={"model": model, "file": text}).get_json()

    assert stranger("GET", f"{path}/{made['id']}").status_code == 404
    assert stranger("POST", f"{path}/{made['id']}/cancel").status_code == 404
    assert stranger("GET", path).get_json()["data"] == []
    assert stranger("POST", path, json={"model": model, "file": text}).status_code == 404
    assert call("POST", f"{path}/{made['id']}/cancel").get_json()["status"] == "cancelled"


@pytest.mark.parametrize("path", PATHS.values())
@pytest.mark.parametrize(("scope", "status"), [("train", 200), ("generate", 200), ("read", 403)])
def test_either_of_two_scopes_is_enough(
    app: Flask, services: Services, model: str, text: str, path: str, scope: str, status: int
) -> None:
    someone = caller(app, services, "acme", scope)

    assert someone("POST", path, json={"model": model, "file": text}).status_code == status


def test_each_noun_has_its_own_jobs(call: Caller, model: str, text: str) -> None:
    made = call("POST", "/v1/scores", json={"model": model, "file": text}).get_json()

    for path in ("/v1/evaluations", "/v1/batches", "/v1/fine_tuning/jobs"):
        assert call("GET", f"{path}/{made['id']}").status_code == 404
