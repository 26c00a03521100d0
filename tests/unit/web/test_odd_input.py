"""Whatever a client sends to whichever route, the answer is never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.web.conftest import Caller
from tests.unit.web.test_auth import described
from web.schemas.batches import BatchBody
from web.schemas.fine_tuning import TrainingBody
from worker.generation.completions import CompletionBody

ODD = [
    "",
    " ",
    "0",
    "-1",
    "é\U0001f600",
    "%00",
    "a%00b",
    "..%2F..%2Fetc",
    "x" * 2000,
    "'; --",
    "{}",
]
ODD_BODIES: list[bytes] = [
    b"null",
    b'{"model": null}',
    b'{"model": "a\\u0000b", "prompt": "x"}',
    b'{"model": "a", "prompt": "\\ud800"}',
    b'{"model": "a", "prompt": [[1, -1]]}',
    b'{"model": "a", "prompt": "x", "seed": 1e400}',
    b'{"model": "a", "prompt": "x", "seed": ' + b"9" * 5000 + b"}",
    b'{"model": "a", "training_file": "b", "metadata": {"\\u0000": ""}}',
    b'{"model": "a", "training_file": "b", "hyperparameters": {"column": "\\ud800"}}',
    b'{"model": "a", "training_file": "b", "hyperparameters": [1]}',
    b'{"input_file_id": 5, "endpoint": {}, "completion_window": []}',
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_ids_and_queries(app: Flask, call: Caller, odd: str) -> None:
    for method, path in described(app):
        for name in ("file_id", "model_id", "job_id", "batch_id", "name"):
            path = path.replace(f"{{{name}}}", odd)
        for query in ("", f"?after={odd}", f"?limit={odd}", f"?metadata[{odd}]={odd}", f"?{odd}"):
            answer = call(method, path + query)
            assert answer.status_code < 500, (method, path, query, answer.text)


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_not(call: Caller, model: str) -> None:
    def ask(escaped: bytes) -> Any:
        body = b'{"model": "%s", "prompt": "a%s"}' % (model.encode(), escaped)
        headers = {"Content-Type": "application/json"}
        return call("POST", "/v1/completions", data=body, headers=headers)

    assert ask(rb"\ud83d\ude00").get_json()["choices"][0]["text"] == "\U0001f600a"
    for escaped in (rb"\ud83d", rb"\uDE00\uD83D", rb"\ud83dx"):
        answer = ask(escaped)
        assert answer.status_code == 400
        assert "surrogate" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("body", ODD_BODIES)
def test_odd_bodies(app: Flask, call: Caller, body: bytes) -> None:
    for method, path in described(app):
        answer = call(method, path, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (method, path, body[:80], answer.text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    sorted({*CompletionBody.model_fields, *TrainingBody.model_fields, *BatchBody.model_fields})
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.dictionaries(FIELDS, VALUES, max_size=6))
def test_any_values_in_known_fields(call: Caller, model: str, body: dict[str, Any]) -> None:
    for path in ("/v1/completions", "/v1/fine_tuning/jobs", "/v1/batches"):
        answer = call("POST", path, data=json.dumps({"model": model, "prompt": "x", **body}))
        assert answer.status_code < 500, answer.text
