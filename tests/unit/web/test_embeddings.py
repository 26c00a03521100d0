"""Vectors over HTTP, with a worker whose vectors are known."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from tests.unit.web.conftest import Caller, publish
from tests.unit.web.in_process import InProcessCompletions
from web.services import Services
from worker.contracts import ChoiceDelta, StreamEntry, Usage
from worker.storage.models import NewModel

VECTORS = ((0.6, 0.8, 0.0, 0.0), (0.0, 0.0, -1.0, 0.0))


def packed(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack("<4f", *vector)).decode()


@pytest.fixture
def embedder(services: Services) -> str:
    header = {"rows": "text", "model": {"layers": 2, "hidden_size": 2}}
    new = NewModel("ft:any", "acme", "jobs/1/1/model", "model.safetensors", header=header)
    return publish(services, new)


@pytest.fixture
def worker(worker: InProcessCompletions) -> InProcessCompletions:
    deltas = [
        ChoiceDelta(index=index, text="", finish_reason="stop", vector=packed(vector))
        for index, vector in enumerate(VECTORS)
    ]
    worker.instead = [
        StreamEntry(kind="accepted", worker="here"),
        StreamEntry(kind="delta", deltas=(deltas[1],)),
        None,
        StreamEntry(kind="end", deltas=(deltas[0],), usage=Usage(prompt_tokens=4)),
    ]
    return worker


def ask(call: Caller, model: str, **body: Any) -> Any:
    return call("POST", "/v1/embeddings", json={"model": model, "input": ["ab", "cd"], **body})


def test_vectors_in_the_order_of_the_texts(
    call: Caller, embedder: str, worker: InProcessCompletions
) -> None:
    call("PUT", "/v1/aliases/vectors", json={"model": embedder})
    answer = ask(call, "vectors")
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    found = [each.pop("embedding") for each in body["data"]]
    assert [pytest.approx(vector) for vector in VECTORS] == found
    assert body == {
        "object": "list",
        "model": embedder,
        "data": [{"object": "embedding", "index": 0}, {"object": "embedding", "index": 1}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert (worker.requests[0].task, worker.requests[0].prompts) == ("embed", ("ab", "cd"))


@pytest.mark.usefixtures("worker")
def test_base64_is_of_little_endian_float32(call: Caller, embedder: str) -> None:
    data = ask(call, embedder, encoding_format="base64").get_json()["data"]
    assert [each["embedding"] for each in data] == [packed(vector) for vector in VECTORS]


def test_texts_and_ids_alone_or_in_lists(
    call: Caller, embedder: str, worker: InProcessCompletions
) -> None:
    for given, prompts in (
        ("ab", ("ab",)), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3))),
    ):  # fmt: skip
        assert ask(call, embedder, input=given, dimensions=None).status_code == 200
        assert worker.requests[-1].prompts == prompts


@pytest.mark.usefixtures("worker")
def test_vectors_are_not_cut(call: Caller, embedder: str) -> None:
    assert ask(call, embedder, dimensions=4).status_code == 200
    error = ask(call, embedder, dimensions=2).get_json()["error"]
    assert error["param"] == "dimensions"
    assert "have 4" in error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": None}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_what_cannot_be_asked(
    call: Caller, embedder: str, body: dict[str, Any], param: str
) -> None:
    answer = ask(call, embedder, **body)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == param


def test_too_much_for_one_request(call: Caller, embedder: str, services: Services) -> None:
    settings = services.settings
    long = ask(call, embedder, input="a" * (settings.max_prompt_characters + 1))
    assert long.get_json()["error"]["code"] == "prompt_too_long"
    many = ask(call, embedder, input=["a"] * (settings.max_prompts + 1))
    assert many.get_json()["error"]["code"] == "too_many_texts"


def test_a_worker_that_cannot_embed(
    call: Caller, embedder: str, worker: InProcessCompletions
) -> None:
    written = ChoiceDelta(index=0, text="a", tokens=1, finish_reason="length")
    worker.instead = [StreamEntry(kind="end", deltas=(written,), usage=Usage())]
    answer = ask(call, embedder)
    assert answer.status_code == 503
    assert "older version" in answer.get_json()["error"]["message"]
