"""Trainings: what is asked for, what the client sees of it; answers as strict clients read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from tests.unit.web.conftest import Caller
from tests.unit.web.in_process import InProcessWakeups
from web.services import Services
from worker.jobs.rows import Job
from worker.storage.models import NewModel

ROOT = "/v1/fine_tuning/jobs"


def start(call: Caller, file_id: str, **more: Any) -> dict[str, Any]:
    answer = call("POST", ROOT, json={"model": "lstm-tiny", "training_file": file_id, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def supervised(hyperparameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def claim(services: Services) -> Job:
    job = services.jobs.claim("training", "test-worker")
    assert job is not None
    return job


def strictly(body: dict[str, Any]) -> FineTuningJob:
    """As a client with strict validation reads it."""
    return FineTuningJob.model_validate(body, strict=True)


def test_a_new_training(call: Caller, upload: Callable[..., str], services: Services) -> None:
    file_id = upload()

    body = start(call, file_id, suffix="bot", seed=7, metadata={"who": "me"})

    job = strictly(body)
    assert (job.status, job.model, job.training_file) == ("queued", "lstm-tiny", file_id)
    assert (job.seed, job.metadata, job.organization_id) == (7, {"who": "me"}, "acme")
    assert (job.error, job.fine_tuned_model, job.result_files) == (None, None, [])
    assert job.hyperparameters.n_epochs == "auto"
    assert isinstance(services.wakeups, InProcessWakeups)
    assert services.wakeups.published == ["training"]


@pytest.mark.parametrize("place", ["hyperparameters", "method"])
def test_hyperparameters_from_both_places(
    call: Caller, upload: Callable[..., str], services: Services, place: str
) -> None:
    given = {"n_epochs": 3, "max_steps": 40, "tokenizer": "byte"}
    more = (
        {"hyperparameters": given} if place == "hyperparameters" else {"method": supervised(given)}
    )

    body = start(call, upload(), **more)

    assert body["hyperparameters"] == {
        "batch_size": "auto",
        "learning_rate_multiplier": "auto",
        **given,
    }
    assert body["method"]["supervised"]["hyperparameters"] == body["hyperparameters"]
    strictly(body)
    assert services.jobs.get("acme", body["id"]).spec["hyperparameters"] == given


@pytest.mark.parametrize(
    ("more", "code", "param", "words"),
    [
        (
            {"hyperparameters": {"hiden_size": 5}},
            "unknown_option",
            "hyperparameters.hiden_size",
            "hidden_size",
        ),
        (
            {"method": supervised({"n_epochs": 51})},
            "invalid_value",
            "method.supervised.hyperparameters.n_epochs",
            "51",
        ),
        ({"method": {"type": "dpo"}}, "invalid_value", "method", "supervised"),
        ({"model": "lstm-hugo"}, "model_not_found", "model", "lstm-auto"),
        ({"training_file": "file-none"}, "file_not_found", "training_file", "POST /v1/files"),
        ({"validation_file": "file-none"}, "file_not_found", "validation_file", "no such file"),
        ({"test_file": "file-none"}, "file_not_found", "test_file", "no such file"),
        ({"embeddings_file": "file-none"}, "file_not_found", "embeddings_file", "no such file"),
        (
            {"hyperparameters": {"embeddings_file": "file-x"}},
            "unknown_option",
            "hyperparameters.embeddings_file",
            "beside it",
        ),
        (
            {"hyperparameters": {"freeze_embeddings": True}},
            "nothing_to_freeze",
            "hyperparameters.freeze_embeddings",
            "embeddings_file",
        ),
        (
            {"hyperparameters": {"patience": 3, "validation_fraction": 0}},
            "nothing_to_validate_on",
            "hyperparameters.patience",
            "validation_file",
        ),
        ({"suffix": "a b"}, "invalid_value", "suffix", "a b"),
        ({"alias": "lstm-tiny"}, "invalid_alias", "alias", "preset"),
        ({"metadata": {"k": 1}}, "invalid_value", "metadata", "string"),
        ({"metadata": {str(i): "" for i in range(17)}}, "invalid_value", "metadata", "16"),
        ({"seed": -1}, "invalid_value", "seed", "-1"),
        ({"integrations": [{"type": "wandb"}]}, "invalid_value", "integrations", "0"),
        (
            {"hyperparameters": {}, "method": supervised({})},
            "invalid_value",
            "hyperparameters",
            "once",
        ),
    ],
)
def test_what_cannot_be_trained_is_a_400(
    call: Caller,
    upload: Callable[..., str],
    more: dict[str, Any],
    code: str,
    param: str,
    words: str,
) -> None:
    body = {"model": "lstm-tiny", "training_file": upload(), **more}

    answer = call("POST", ROOT, json=body)

    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert words in error["message"]
    assert call("GET", ROOT).get_json()["data"] == []


def test_a_file_for_another_purpose(call: Caller, upload: Callable[..., str]) -> None:
    body = {"model": "lstm-tiny", "training_file": upload(purpose="batch")}

    answer = call("POST", ROOT, json=body)

    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "wrong_purpose"


def test_going_on_from_an_alias_names_the_real_model(
    call: Caller, upload: Callable[..., str], model: str, services: Services
) -> None:
    call("PUT", "/v1/aliases/bot", json={"model": model})

    body = start(call, upload(), model="bot")

    assert body["model"] == model
    spec = services.jobs.get("acme", body["id"]).spec
    assert spec["base_artifact"] == {
        "artifact": "jobs/ftjob-1/1/model",
        "file": "model.safetensors",
    }
    assert call("DELETE", f"/v1/models/{model}").status_code == 409


def test_a_model_keeps_its_shape(call: Caller, upload: Callable[..., str], model: str) -> None:
    body = {"model": model, "training_file": upload(), "hyperparameters": {"layers": 2}}

    answer = call("POST", ROOT, json=body)

    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "shape_is_given"


def test_the_whole_life(call: Caller, upload: Callable[..., str], services: Services) -> None:
    job_id = start(call, upload())["id"]

    job = claim(services)
    services.jobs.save_plan(job, {"batch_size": 32, "total_steps": 100})
    services.jobs.set_progress(job, {"step": 10, "total_steps": 100, "seconds_left": 60})
    running = strictly(call("GET", f"{ROOT}/{job_id}").get_json())
    assert running.status == "running"
    assert running.hyperparameters.batch_size == 32
    assert running.estimated_finish is not None

    services.jobs.succeed(
        job, {"fine_tuned_model": "ft:x", "result_files": ["file-1"], "trained_tokens": 99}
    )
    done = strictly(call("GET", f"{ROOT}/{job_id}").get_json())
    assert (done.status, done.fine_tuned_model, done.result_files) == (
        "succeeded",
        "ft:x",
        ["file-1"],
    )
    assert done.trained_tokens == 99 and done.finished_at is not None


def test_a_failure_has_three_fields(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    job_id = start(call, upload())["id"]
    error = {"code": "one_symbol", "message": "Too dull.", "param": "training_file", "more": 1}
    services.jobs.fail(claim(services), error)

    failed = strictly(call("GET", f"{ROOT}/{job_id}").get_json())

    assert failed.status == "failed" and failed.error is not None
    assert (failed.error.code, failed.error.message) == ("one_symbol", "Too dull.")


def test_cancelling(call: Caller, upload: Callable[..., str], services: Services) -> None:
    job_id = start(call, upload())["id"]

    # OpenAI's client sends no body, and says that it is JSON.
    answer = call("POST", f"{ROOT}/{job_id}/cancel", headers={"Content-Type": "application/json"})

    assert strictly(answer.get_json()).status == "cancelled"


def test_what_has_ended_cannot_be_cancelled(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    job_id = start(call, upload())["id"]
    services.jobs.succeed(claim(services), {})

    answer = call("POST", f"{ROOT}/{job_id}/cancel")

    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "false"


def test_pausing_and_resuming(call: Caller, upload: Callable[..., str], services: Services) -> None:
    job_id = start(call, upload())["id"]
    assert call("POST", f"{ROOT}/{job_id}/pause").status_code == 409  # it does not run yet
    job = claim(services)
    services.jobs.request_pause("acme", job_id)
    services.jobs.paused(job)

    assert call("GET", f"{ROOT}/{job_id}").get_json()["status"] == "paused"
    assert call("POST", f"{ROOT}/{job_id}/resume").get_json()["status"] == "queued"


def test_events_page_from_the_newest(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    job_id = start(call, upload())["id"]
    job = claim(services)
    for step in range(1, 6):
        services.jobs.add_event(
            job, type="metrics", message=f"step {step}", data={"step": step, "train_loss": 1.5}
        )

    seen: list[FineTuningJobEvent] = []
    after = ""
    while True:
        page = call("GET", f"{ROOT}/{job_id}/events?limit=2{after}").get_json()
        seen += [FineTuningJobEvent.model_validate(event, strict=True) for event in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={seen[-1].id}"

    messages = [event.message for event in seen]
    assert messages[:5] == [f"step {step}" for step in range(5, 0, -1)]
    assert len({event.id for event in seen}) == len(seen) == 7
    assert (seen[0].type, seen[-1].type) == ("metrics", "message")
    assert seen[0].data == {"step": 5, "train_loss": 1.5}
    assert call("GET", f"{ROOT}/{job_id}/events?after=nonsense").status_code == 400


def test_checkpoints(call: Caller, upload: Callable[..., str], services: Services) -> None:
    job_id = start(call, upload())["id"]
    job = claim(services)
    for step in (10, 20):
        artifact = f"jobs/{job_id}/1/step-{step}"
        new = NewModel(f"ft:x:ckpt-step-{step}", "acme", artifact, "checkpoint.safetensors")
        metrics = {"train_loss": 2.0, "valid_loss": 2.1}
        services.jobs.save_checkpoint(
            job, artifact=artifact, step=step, metrics=metrics, publish_model=new
        )

    body = call("GET", f"{ROOT}/{job_id}/checkpoints").get_json()

    found = [FineTuningJobCheckpoint.model_validate(each) for each in body["data"]]
    assert [checkpoint.step_number for checkpoint in found] == [20, 10]
    assert found[0].fine_tuned_model_checkpoint == "ft:x:ckpt-step-20"
    assert found[0].metrics.valid_loss == 2.1
    assert body["first_id"] == found[0].id
    assert call("GET", "/v1/models/ft:x:ckpt-step-20").status_code == 200


def test_lists_page_and_filter(call: Caller, upload: Callable[..., str]) -> None:
    file_id = upload()
    ids = [start(call, file_id, metadata={"n": str(n % 2)})["id"] for n in range(4)]

    first = call("GET", f"{ROOT}?limit=3").get_json()
    rest = call("GET", f"{ROOT}?limit=3&after={first['data'][-1]['id']}").get_json()
    odd = call("GET", f"{ROOT}?metadata[n]=1").get_json()

    assert [job["id"] for job in first["data"] + rest["data"]] == ids[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [job["id"] for job in odd["data"]] == [ids[3], ids[1]]


def test_an_idempotency_key_makes_one_job(call: Caller, upload: Callable[..., str]) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    headers = {"Idempotency-Key": "once"}

    first = call("POST", ROOT, json=body, headers=headers).get_json()
    again = call("POST", ROOT, json=body, headers=headers).get_json()
    other = call("POST", ROOT, json={**body, "seed": 1}, headers=headers)

    assert first["id"] == again["id"]
    assert other.status_code == 422
    assert len(call("GET", ROOT).get_json()["data"]) == 1


def test_submission_does_not_need_the_broker(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    assert isinstance(services.wakeups, InProcessWakeups)
    services.wakeups.away = True

    assert start(call, upload())["status"] == "queued"


def test_a_batch_is_no_training(call: Caller, upload: Callable[..., str]) -> None:
    body = {
        "input_file_id": upload(purpose="batch"),
        "endpoint": "/v1/completions",
        "completion_window": "24h",
    }
    batch = call("POST", "/v1/batches", json=body).get_json()

    assert call("GET", f"{ROOT}/{batch['id']}").status_code == 404


def test_several_files_are_one_corpus_in_their_order(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    first, second, third = (upload(name=f"{number}.txt") for number in range(3))

    body = start(call, first, training_files=[third, second])

    assert (body["training_file"], body["training_files"]) == (first, [third, second])
    strictly(body)
    files = services.jobs.get("acme", body["id"]).spec["files"]
    assert [file["filename"] for file in files] == ["0.txt", "2.txt", "1.txt"]


def test_a_file_that_a_training_needs_is_kept_wherever_it_is_named(
    call: Caller, upload: Callable[..., str]
) -> None:
    first, second = upload(name="1.txt"), upload(name="2.txt")
    start(call, first, training_files=[second])

    answer = call("DELETE", f"/v1/files/{second}")

    assert answer.status_code == 409


def test_a_test_file_goes_with_the_training_and_is_kept(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    first, test = upload(name="1.txt"), upload(name="2.txt")

    body = start(call, first, test_file=test)

    assert (body["validation_file"], body["test_file"]) == (None, test)
    strictly(body)
    assert services.jobs.get("acme", body["id"]).spec["test_file"]["filename"] == "2.txt"
    assert call("DELETE", f"/v1/files/{test}").status_code == 409


@pytest.mark.parametrize("purpose", ["fine-tune", "user_data"])
def test_word_vectors_go_with_the_training_and_are_kept(
    call: Caller, upload: Callable[..., str], services: Services, purpose: str
) -> None:
    vectors = upload(b"cat 1 2 3 4\n", name="some.vec", purpose=purpose)

    body = start(call, upload(), embeddings_file=vectors)

    assert body["embeddings_file"] == vectors
    strictly(body)
    job = services.jobs.get("acme", body["id"])
    assert job.spec["embeddings_file"]["filename"] == "some.vec"
    assert call("DELETE", f"/v1/files/{vectors}").status_code == 409
    services.jobs.request_cancel("acme", job.id)
    used = call("GET", f"/v1/uses/files/{vectors}").get_json()
    assert job.id in str(used)
    assert call("DELETE", f"/v1/files/{vectors}").status_code == 200


def test_a_model_to_continue_from_takes_no_word_vectors(
    call: Caller, upload: Callable[..., str], model: str
) -> None:
    body = {"model": model, "training_file": upload(), "embeddings_file": upload(name="v.vec")}

    error = call("POST", ROOT, json=body).get_json()["error"]

    assert (error["code"], error["param"]) == ("shape_is_given", "embeddings_file")


@pytest.mark.parametrize("twice", ["first", "second"])
def test_a_file_is_given_once(call: Caller, upload: Callable[..., str], twice: str) -> None:
    ids = {"first": upload(name="1.txt"), "second": upload(name="2.txt")}
    body = {
        "model": "lstm-tiny",
        "training_file": ids["first"],
        "training_files": [ids["second"], ids[twice]],
    }

    answer = call("POST", "/v1/fine_tuning/jobs", json=body)

    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "file_given_twice"
    assert ids[twice] in answer.get_json()["error"]["message"]
