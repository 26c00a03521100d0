"""A label behind generated text, and words that do not occur."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.web.conftest import Caller
from textgen.options import SamplingOptions
from web.errors import answer_for
from web.services import Services
from worker.batches.input import BatchLine
from worker.batches.shard import Shard
from worker.contracts import (
    BundleReference,
    ChatTurn,
    ChoiceDelta,
    Conversation,
    Gap,
    GenerateRequest,
    Usage,
)
from worker.generation.engine_errors import to_error
from worker.generation.engine_link import Update
from worker.generation.text_policy import BlockedWord, TextPolicy
from worker.tasks import received
from worker.tenants.options import TenantOptions


def want(services: Services, **values: object) -> None:
    services.tenants.update("acme", TenantOptions.parse(values))


def test_the_label_stands_behind_each_text(
    call: Caller, stranger: Caller, services: Services, model: str
) -> None:
    body = {"model": model, "prompt": ["abc", "def"]}
    plain = call("POST", "/v1/completions", json=body).get_json()["choices"]
    want(services, label=" [AI]")

    labelled = call("POST", "/v1/completions", json=body).get_json()["choices"]
    stream = call("POST", "/v1/completions", json={**body, "stream": True}).text

    assert [choice["text"] for choice in labelled] == [f"{each['text']} [AI]" for each in plain]
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    texts = {0: "", 1: ""}
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
    assert list(texts.values()) == [choice["text"] for choice in labelled]
    assert stranger("GET", "/v1/models").status_code == 200


def test_blocked_words_are_refused_in_prompts_and_end_texts(
    call: Caller, services: Services, model: str
) -> None:
    want(services, blocked_words=["secret plan", "雷"])
    body = {"model": model, "prompt": "x", "stop": ["."], "include_stop_str_in_output": True}

    refused = call("POST", "/v1/completions", json={**body, "prompt": "a secret plan"})
    allowed = call("POST", "/v1/completions", json=body)

    assert refused.status_code == 400
    assert refused.get_json()["error"]["code"] == "blocked_word"
    assert allowed.status_code == 200
    sent = services.completions.requests[-1]  # type: ignore[attr-defined]
    assert sent.blocked == ("secret plan", "雷")
    assert sent.options.stop == (".",)


@pytest.mark.parametrize(
    ("task", "prompt", "suffix", "param"),
    [
        ("write", "the word", None, "prompt"),
        ("write", "fine", "the word", "suffix"),
        ("write", Gap(before="the wo", after="rd"), None, "input"),
        ("classify", "the word", None, "input"),
        ("reply", Conversation(turns=(ChatTurn(role="user", text="a word"),)), None, "messages"),
    ],
)
def test_a_refusal_names_the_field_and_the_word(
    task: Any, prompt: Any, suffix: str | None, param: str
) -> None:
    request = GenerateRequest(
        id="r",
        bundle=BundleReference(artifact="a", file="f"),
        prompts=(prompt,),
        suffix=suffix,
        task=task,
        options=SamplingOptions(),
        seed=1,
    )
    with pytest.raises(BlockedWord) as caught:
        TextPolicy(blocked=("other", "word")).admitted(request)
    assert caught.value.param == param
    assert caught.value.message.startswith(f"'{param}' holds 'word'")


def test_as_many_words_are_blocked_as_may_be_beside_the_stops(
    call: Caller, services: Services, model: str
) -> None:
    """What the worker reads is what was sent: the words are no stops, which are four at most."""
    want(services, blocked_words=[f"word{number}" for number in range(1000)])
    body = {"model": model, "prompt": "x", "stop": ["a", "b", "c", "d"]}

    assert call("POST", "/v1/completions", json=body).status_code == 200

    sent = services.completions.requests[-1]  # type: ignore[attr-defined]
    assert len(sent.blocked) == 1000
    assert GenerateRequest.received(json.loads(sent.model_dump_json())) == sent


def test_a_request_that_the_worker_cannot_read_is_refused_to_its_reader() -> None:
    refused: list[tuple[GenerateRequest, dict[str, Any]]] = []
    answers = SimpleNamespace(refuse=lambda *told: refused.append(told))
    message = {"id": "cmpl-1", "reader": "web.1", "options": {"stop": list("abcde")}}

    assert received(message, cast(Any, answers)) is None

    [(request, error)] = refused
    assert (request.id, request.reader) == ("cmpl-1", "web.1")
    assert error["code"] == "unreadable_request"
    assert answer_for(to_error(error)).status == 503


@pytest.mark.parametrize("prompt", ["fine", "a secret plan"])
def test_lines_of_batches_too(services: Services, model: str, prompt: str) -> None:
    job = services.jobs.submit("acme", "batch", {"endpoint": "/v1/completions"})
    line = BatchLine(0, "a", {"model": model, "prompt": prompt})
    shard = Shard(0, job, [line], TextPolicy(" [AI]", ("secret plan",)))

    lines = list(shard.prepare(services.models, services.settings))
    for item in lines:
        delta = ChoiceDelta(0, "text", 1, "stop")
        shard.add(item, Update(item.request.id, (delta,), usage=Usage(1, 1)))

    assert shard.complete
    (completed, row) = shard._rows[0]
    assert completed == (prompt == "fine")
    assert ("text [AI]" if completed else "blocked_word") in row
    assert shard.counts().characters_out == (len("text") if completed else 0)
