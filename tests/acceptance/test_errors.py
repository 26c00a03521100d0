"""Every refusal reaches the official client as its own exception, with a code and a way out."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.stack import Stack


def test_a_wrong_key_is_an_authentication_error(stack: Stack) -> None:
    client = stack.client().with_options(api_key="tg_wrong_key")

    with pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()

    assert caught.value.code == "invalid_api_key"


def test_unknown_things_are_not_found(client: openai.OpenAI) -> None:
    for call in (
        lambda: client.models.retrieve("ft:nothing"),
        lambda: client.files.retrieve("file-nothing"),
        lambda: client.fine_tuning.jobs.retrieve("ftjob-nothing"),
        lambda: client.batches.retrieve("batch_nothing"),
        lambda: client.completions.create(model="nothing", prompt="x"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert "nothing" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "param", "word"),
    [
        ({"temperature": 3}, "temperature", "2"),
        ({"max_tokens": -1}, "max_tokens", "0"),
        ({"top_p": 0}, "top_p", "0"),
        ({"n": 1000}, "n", "128"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "4"),
        ({"extra_body": {"temprature": 1}}, "temprature", "temperature"),
        ({"extra_body": {"top_k": -2}}, "top_k", "0"),
        ({"prompt": "x" * 1_000_000}, "prompt", "262,144"),
        ({"prompt": []}, "prompt", "1"),
        ({"prompt": [[999_999]]}, "prompt", "999999"),
    ],
)
def test_a_bad_request_names_the_field_and_the_bound(
    client: openai.OpenAI, model: str, options: dict[str, Any], param: str, word: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{"model": model, "prompt": "x", **options})

    assert caught.value.param == param
    assert word in caught.value.message


def test_a_preset_writes_nothing_and_says_how_to_train_it(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="lstm-small", prompt="x")

    assert caught.value.code == "model_not_trained"
    assert "fine_tuning.jobs.create" in caught.value.message


@pytest.mark.parametrize(
    ("hyperparameters", "word"),
    [
        ({"max_step": 3}, "max_steps"),
        ({"n_epochs": 51}, "50"),
        ({"batch_size": 0}, "1"),
        ({"layers": 99}, "8"),
        ({"learning_rate": "fast"}, "number"),
    ],
)
def test_a_bad_hyperparameter_is_refused_before_a_job_exists(
    client: openai.OpenAI, verses_file: str, hyperparameters: dict[str, Any], word: str
) -> None:
    before = [job.id for job in client.fine_tuning.jobs.list(limit=5).data]

    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(
            model="lstm-tiny",
            training_file=verses_file,
            extra_body={"hyperparameters": hyperparameters},
        )

    assert word in caught.value.message
    assert [job.id for job in client.fine_tuning.jobs.list(limit=5).data] == before


def test_a_finished_job_cannot_be_cancelled_and_the_client_does_not_try_again(
    client: openai.OpenAI, model: str
) -> None:
    job = next(item for item in client.fine_tuning.jobs.list() if item.fine_tuned_model == model)

    with pytest.raises(openai.ConflictError) as caught:
        client.fine_tuning.jobs.cancel(job.id)

    assert caught.value.response.headers["x-should-retry"] == "false"


def test_every_status_has_the_error_envelope_and_a_request_id(stack: Stack) -> None:
    with stack.http() as http:
        for method, path, status in (
            ("GET", "/v1/nowhere", 404),
            ("DELETE", "/v1/files", 405),
            ("POST", "/v1/completions", 400),
        ):
            answer = http.request(method, path)
            assert answer.status_code == status
            assert answer.json()["error"]["message"]
            assert answer.headers["x-request-id"]
