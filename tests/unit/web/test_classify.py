"""Classification over HTTP, with a worker that is as sure as it is told to be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.web.conftest import Caller, publish
from tests.unit.web.in_process import InProcessCompletions
from web.services import Services
from worker.contracts import ChoiceDelta, GenerateRequest, StreamEntry, Usage, decode_deltas
from worker.errors import BrokerUnavailable, NoWorker
from worker.storage.models import NewModel

LABELS = ["ham", "spam", "odd"]
CHANCES = ((0.2, 0.7, 0.1), (0.5, 0.3, 0.2))


@pytest.fixture
def classifier(services: Services) -> str:
    header = {
        "objectives": ["classify"],
        "rows": "labels",
        "labels": LABELS,
        "classification": {"accuracy": 0.9},
    }
    new = NewModel("ft:classes", "acme", "jobs/1/1/model", "model.safetensors", header=header)
    return publish(services, new)


@pytest.fixture
def worker(worker: InProcessCompletions) -> InProcessCompletions:
    deltas = [
        ChoiceDelta(index=index, text="", finish_reason="stop", chances=chances)
        for index, chances in enumerate(CHANCES)
    ]
    worker.instead = [
        StreamEntry(kind="accepted", worker="here"),
        StreamEntry(kind="delta", deltas=(deltas[1],)),
        None,
        StreamEntry(kind="delta", deltas=(deltas[0],)),
        StreamEntry(kind="end", usage=Usage(prompt_tokens=9)),
    ]
    return worker


def ask(call: Caller, model: str, **body: Any) -> Any:
    return call("POST", "/v1/classify", json={"model": model, "input": ["ab", "cd"], **body})


def test_every_text_has_its_class_and_all_chances(
    call: Caller, classifier: str, worker: InProcessCompletions
) -> None:
    answer = ask(call, classifier)
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert (body["object"], body["model"]) == ("list", classifier)
    assert [(each["index"], each["label"], each["probability"]) for each in body["data"]] == [
        (0, "spam", 0.7), (1, "ham", 0.5),
    ]  # fmt: skip
    assert body["data"][0]["probabilities"] == [
        {"label": "spam", "probability": 0.7},
        {"label": "ham", "probability": 0.2},
        {"label": "odd", "probability": 0.1},
    ]
    assert body["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    request = worker.requests[0]
    assert (request.prompts, request.task) == (("ab", "cd"), "classify")


@pytest.mark.usefixtures("worker")
def test_top_k_cuts_what_is_told(call: Caller, classifier: str) -> None:
    for top_k in (1, 2, 3, 50):
        body = ask(call, classifier, top_k=top_k).get_json()
        assert [len(each["probabilities"]) for each in body["data"]] == [min(top_k, 3)] * 2
        assert [each["label"] for each in body["data"]] == ["spam", "ham"]


def test_one_text_may_stand_alone(
    call: Caller, classifier: str, worker: InProcessCompletions
) -> None:
    body = ask(call, classifier, input="ab").get_json()
    assert [each["label"] for each in body["data"]] == ["spam"]
    assert worker.requests[0].prompts == ("ab",)


def test_an_alias_answers_with_the_real_id(
    call: Caller, classifier: str, worker: InProcessCompletions
) -> None:
    call("PUT", "/v1/aliases/mail", json={"model": classifier})
    assert ask(call, "mail").get_json()["model"] == classifier


def test_a_model_without_labels_says_how_to_train_one(call: Caller, model: str) -> None:
    error = ask(call, model).get_json()["error"]
    assert (error["code"], error["param"]) == ("not_a_classifier", "model")
    assert '"label"' in error["message"]
    assert "classify" in error["message"]
    assert ask(call, "lstm-auto").get_json()["error"]["code"] == "model_not_trained"
    assert ask(call, "none").status_code == 404


def test_a_classifier_that_has_learnt_no_text_writes_none(call: Caller, classifier: str) -> None:
    answer = call("POST", "/v1/completions", json={"model": classifier, "prompt": "a"})
    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert (error["code"], error["param"]) == ("writing_not_learnt", "model")
    assert "/v1/classify" in error["message"]
    assert "ham, spam, odd" in error["message"]


def test_the_model_says_what_it_tells_apart(call: Caller, classifier: str, model: str) -> None:
    shown = call("GET", f"/v1/models/{classifier}").get_json()
    assert (shown["objectives"], shown["rows"], shown["labels"]) == (
        ["classify"], "labels", LABELS,
    )  # fmt: skip
    assert shown["classification"] == {"accuracy": 0.9}
    assert call("GET", f"/v1/models/{model}").get_json().get("labels") is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [1]}, "input"),
        ({"input": None}, "input"),
        ({"top_k": 0}, "top_k"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_what_cannot_be_asked(
    call: Caller, classifier: str, body: dict[str, Any], param: str
) -> None:
    answer = ask(call, classifier, **body)
    assert answer.status_code == 400
    assert param in answer.get_json()["error"]["param"]


def test_too_much_for_one_request(call: Caller, classifier: str, services: Services) -> None:
    settings = services.settings
    long = ask(call, classifier, input="a" * (settings.max_prompt_characters + 1))
    assert long.get_json()["error"]["code"] == "prompt_too_long"
    many = ask(call, classifier, input=["a"] * (settings.max_prompts + 1))
    assert many.get_json()["error"]["code"] == "too_many_texts"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (BrokerUnavailable("Redis is away."), "broker_unavailable"),
        (NoWorker("None is running."), "no_worker"),
    ],
)
def test_a_part_that_is_away_is_a_503(
    call: Caller, classifier: str, worker: InProcessCompletions, failure: Exception, code: str
) -> None:
    worker.failure = failure
    answer = ask(call, classifier)
    assert answer.status_code == 503
    assert answer.get_json()["error"]["code"] == code
    assert "Retry-After" in answer.headers


def test_a_worker_that_fails_or_cannot_classify(
    call: Caller, classifier: str, worker: InProcessCompletions
) -> None:
    lost = {"code": "worker_lost", "message": "It died.", "param": None}
    worker.instead = [StreamEntry(kind="error", error=lost)]
    assert ask(call, classifier).status_code == 503
    written = ChoiceDelta(index=0, text="a", tokens=1, finish_reason="length")
    worker.instead = [StreamEntry(kind="end", deltas=(written,), usage=Usage())]
    answer = ask(call, classifier)
    assert answer.status_code == 503
    assert "older version" in answer.get_json()["error"]["message"]
    assert worker.closed.is_set()


def test_requests_of_before_and_after_are_understood() -> None:
    """Fields are only ever added, so a message without them is one of an older version."""
    old = json.loads(
        '{"id": "a", "bundle": {"artifact": "a", "file": "b"}, "prompts": ["c"], '
        '"options": {}, "seed": 1}'
    )
    assert GenerateRequest.model_validate(old).task == "write"
    assert GenerateRequest.model_validate({**old, "classify": True}).task == "classify"
    assert decode_deltas([[0, "a"]])[0].chances is None
