"""A label behind generated text, and words that do not occur."""

from __future__ import annotations

import json

import pytest

from tests.unit.web.conftest import Caller
from web.services import Services
from worker.batches.input import BatchLine
from worker.batches.shard import Shard
from worker.contracts import ChoiceDelta, Usage
from worker.generation.engine_link import Update
from worker.generation.text_policy import TextPolicy
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
    sent = services.completions.requests[-1].options  # type: ignore[attr-defined]
    assert sent.stop == (".", "secret plan", "雷")
    assert not sent.include_stop_str_in_output


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
