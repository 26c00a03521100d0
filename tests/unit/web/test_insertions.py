"""/v1/insertions: one round after the other, by the engine's way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.web.conftest import Caller, publish
from tests.unit.web.in_process import InProcessCompletions
from web.services import Services
from worker.contracts import Gap
from worker.storage.models import NewModel

ROOT = "/v1/insertions"


@pytest.fixture
def filler(services: Services) -> str:
    """A model that has learnt to fill gaps."""
    header = {"objectives": ["causal", "infill"]}
    return publish(services, NewModel("ft:gaps", "acme", "a", "f", header=header))


def insert(call: Caller, model: str, **more: Any) -> dict[str, Any]:
    answer = call("POST", ROOT, json={"model": model, "input": "ab cd ef", **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def test_one_insertion_where_the_model_is_surest(
    call: Caller, filler: str, worker: InProcessCompletions
) -> None:
    body = insert(call, filler, seed=3)

    # The worker turns what stands before a gap round; all are equally likely to it.
    assert body["text"] == "ab  bacd ef"
    (span,) = body["insertions"]
    assert body["text"][span["start"] : span["end"]] == span["text"] == " ba"
    assert (body["object"], body["model"], body["id"][:4]) == ("insertion", "ft:gaps", "ins-")
    (request,) = worker.requests
    assert request.prompts == (Gap(before="ab ", after="cd ef"), Gap(before="ab cd ", after="ef"))
    assert (request.seed, request.tenant) == (3, "acme")


def test_the_next_round_begins_with_the_longer_text(
    call: Caller, filler: str, worker: InProcessCompletions
) -> None:
    body = insert(call, filler, max_insertions=5, max_tokens=3)

    assert len(worker.requests) == len(body["insertions"]) == 2  # then no place is left
    assert worker.requests[1].prompts[0].before.startswith("ab  ba")
    assert worker.requests[0].seed == worker.requests[1].seed
    read = sum(len(gap.before) for each in worker.requests for gap in each.prompts)
    assert body["usage"]["prompt_tokens"] == read


def test_where_nothing_comes_to_an_end_the_text_stays(
    call: Caller, filler: str, worker: InProcessCompletions
) -> None:
    worker.gaps_end = False

    body = insert(call, filler, max_insertions=3)

    assert (body["text"], body["insertions"]) == ("ab cd ef", [])
    assert len(worker.requests) == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"input": "word"}, 400, "no_place"),
        ({"positions": [99]}, 400, "invalid_value"),
        ({"model": "none"}, 404, "model_not_found"),
        ({"model": "lstm-auto"}, 400, "model_not_trained"),
        ({"input": "a " * 300}, 400, "too_many_places"),
    ],
)
def test_what_cannot_be_done(
    call: Caller, filler: str, fields: dict[str, Any], status: int, code: str
) -> None:
    answer = call("POST", ROOT, json={"model": filler, "input": "ab cd", **fields})

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)


def test_a_model_without_infill_says_how_it_would_learn_it(call: Caller, model: str) -> None:
    answer = call("POST", ROOT, json={"model": model, "input": "ab cd"})

    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (
        400,
        "suffix_not_learnt",
        "model",
    )
    assert "infill" in error["message"]
