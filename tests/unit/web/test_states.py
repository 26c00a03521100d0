"""States of texts and next tokens over HTTP: with a worker that writes prompts backwards."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.web.conftest import Caller, publish
from tests.unit.web.in_process import InProcessCompletions, InProcessStates
from web.services import Services
from worker.storage.models import NewModel


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"state_id": "state_1", "suffix": "end"}, "state_id"),
        ({"return_state": True, "suffix": "end"}, "return_state"),
        ({"return_state": True, "echo": True, "logprobs": 1}, "return_state"),
        ({"return_state": "perhaps"}, "return_state"),
        ({"state_id": 7}, "state_id"),
    ],
)
def test_what_does_not_go_together_is_refused(
    call: Caller, model: str, body: dict[str, Any], param: str
) -> None:
    answer = call("POST", "/v1/completions", json={"model": model, "prompt": "a", **body})
    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "a", "top": 0}, "top"),
        ({"prompt": "a", "top": 1001}, "top"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "a", "tops": 3}, "tops"),
        ({"prompt": "a" * 300_000}, "prompt"),
    ],
)
def test_next_tokens_are_checked(
    call: Caller, model: str, body: dict[str, Any], param: str
) -> None:
    answer = call("POST", "/v1/next_tokens", json={"model": model, **body})
    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == param


def complete(call: Caller, model: str, **body: Any) -> Any:
    answer = call("POST", "/v1/completions", json={"model": model, **body})
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_each_choice_has_a_state_that_goes_on(
    call: Caller, model: str, worker: InProcessCompletions
) -> None:
    body = complete(call, model, prompt=["ab", "cd"], n=2, return_state=True)
    ids = [choice["state_id"] for choice in body["choices"]]
    assert len(set(ids)) == 4

    body = complete(call, model, state_id=ids[2], prompt="ef")
    assert [set(choice) for choice in body["choices"]] == [
        {"index", "text", "logprobs", "finish_reason"}
    ]
    assert json.loads(worker.requests[-1].state or "")["after"] == "dc"
    complete(call, model, state_id=ids[0])  # nothing but the state
    assert worker.requests[-1].prompts == ("",)


def test_a_stream_tells_the_state_with_the_reason(call: Caller, model: str) -> None:
    body = {"model": model, "prompt": "abcd", "n": 2, "stream": True, "return_state": True}
    text = call("POST", "/v1/completions", json=body).text
    blocks = [block.removeprefix("data: ") for block in text.split("\n\n")]
    data = [json.loads(block) for block in blocks if block.startswith("{")]
    choices = [choice for chunk in data for choice in chunk["choices"]]
    for choice in choices:
        assert (choice["state_id"] is None) == (choice["finish_reason"] is None)
    assert len({choice["state_id"] for choice in choices}) == 3


def test_of_several_texts_only_those_that_are_told_have_states(
    call: Caller, services: Services, model: str
) -> None:
    body = complete(call, model, prompt="abc", best_of=5, n=2, return_state=True)
    ids = {choice["state_id"] for choice in body["choices"]}
    assert {each.id for each in services.states.of_tenant("acme")} == ids


def test_next_tokens_come_with_the_state_before_them(
    call: Caller, model: str, worker: InProcessCompletions
) -> None:
    answer = call("POST", "/v1/next_tokens", json={"model": model, "prompt": "a", "top": 3})
    body = answer.get_json()
    assert (worker.requests[-1].alternatives, worker.requests[-1].task) == (3, "choose")
    assert body["data"] == [
        {"token": 97, "text": "a", "probability": pytest.approx(0.6065, abs=1e-4), "logprob": -0.5}
    ]
    assert body["usage"] == {"prompt_tokens": 1, "total_tokens": 1}
    further = {"model": model, "state_id": body["state_id"], "prompt": [97]}
    assert call("POST", "/v1/next_tokens", json=further).status_code == 200
    assert worker.requests[-1].prompts == ((97,),)


def test_where_no_states_are_kept_next_tokens_are_told_without(
    call: Caller, services: Services, model: str
) -> None:
    assert isinstance(services.states, InProcessStates)
    services.states.allowed = False
    body = call("POST", "/v1/next_tokens", json={"model": model, "prompt": "a"}).get_json()
    assert (body["state_id"], len(body["data"])) == (None, 1)


def test_states_are_listed_shown_and_deleted(call: Caller, model: str) -> None:
    ids = [
        complete(call, model, prompt="abc", return_state=True)["choices"][0]["state_id"]
        for _ in range(3)
    ]
    listed = call("GET", "/v1/states?limit=2").get_json()
    assert ([each["id"] for each in listed["data"]], listed["has_more"]) == (ids[:0:-1], True)
    listed = call("GET", f"/v1/states?after={ids[1]}").get_json()
    assert ([each["id"] for each in listed["data"]], listed["has_more"]) == (ids[:1], False)
    shown = call("GET", f"/v1/states/{ids[0]}").get_json()
    assert (shown["object"], shown["model"], shown["tokens"]) == ("state", model, 3)

    deleted = call("DELETE", f"/v1/states/{ids[0]}").get_json()

    assert deleted == {"id": ids[0], "object": "state", "deleted": True}
    for answer in (
        call("GET", f"/v1/states/{ids[0]}"),
        call("DELETE", f"/v1/states/{ids[0]}"),
        call("POST", "/v1/completions", json={"model": model, "state_id": ids[0]}),
        call("POST", "/v1/next_tokens", json={"model": model, "state_id": ids[0]}),
    ):
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "state_not_found")


def test_a_deleted_model_leaves_no_states(call: Caller, services: Services, model: str) -> None:
    for _ in range(2):
        complete(call, model, prompt="abc", return_state=True)

    assert call("DELETE", f"/v1/models/{model}").status_code == 200

    assert call("GET", "/v1/states").get_json()["data"] == []


def test_a_name_that_points_to_another_model_now(
    call: Caller, services: Services, model: str
) -> None:
    services.models.set_alias("acme", "ours", model)
    body = complete(call, "ours", prompt="abc", return_state=True)
    state = body["choices"][0]["state_id"]
    another = NewModel(
        id="ft:lstm-tiny:acme::1111111111", owned_by="acme", artifact="jobs/2/1/model",
        file="model.safetensors",
    )  # fmt: skip
    publish(services, another)
    services.models.set_alias("acme", "ours", another.id)
    answer = call("POST", "/v1/completions", json={"model": "ours", "state_id": state})
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "state_of_another_model"
    assert complete(call, model, state_id=state)["choices"]
