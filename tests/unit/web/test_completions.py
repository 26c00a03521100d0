"""Completions, whole and streamed, with a worker that writes the prompt backwards."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from openai.types import Completion

from tests.unit.web.conftest import Caller
from tests.unit.web.in_process import InProcessCompletions
from textgen.options import SamplingOptions
from web.services import Services
from worker.contracts import ChoiceDelta, StreamEntry
from worker.errors import BrokerUnavailable, NoWorker


def complete(call: Caller, model: str, **body: Any) -> Any:
    return call("POST", "/v1/completions", json={"model": model, "prompt": "abcdef", **body})


def chunks(text: str) -> list[dict[str, Any]]:
    """The data of a stream; every block must be one that OpenAI's client understands."""
    blocks = [block for block in text.split("\n\n") if block]
    data = [block.removeprefix("data: ") for block in blocks if not block.startswith(":")]
    assert all(block.startswith(("data: ", ":")) for block in blocks)
    assert data[-1] == "[DONE]"
    return [json.loads(block) for block in data[:-1]]


def test_a_whole_answer(call: Caller, model: str) -> None:
    answer = Completion.model_validate(complete(call, model).get_json(), strict=True)

    assert answer.model == model
    assert [(c.index, c.text, c.finish_reason) for c in answer.choices] == [(0, "fedcba", "length")]
    assert answer.usage is not None and answer.usage.total_tokens == 12


@pytest.mark.parametrize(
    ("prompt", "n", "texts"),
    [
        (["ab", "cd"], 2, ["ba", "ba", "dc", "dc"]),
        ([97, 98], 1, ["ba"]),
        ([[97, 98], [99]], 1, ["ba", "c"]),
    ],
)
def test_every_kind_of_prompt(
    call: Caller, model: str, prompt: Any, n: int, texts: list[str]
) -> None:
    body = complete(call, model, prompt=prompt, n=n).get_json()

    assert [choice["text"] for choice in body["choices"]] == texts
    assert [choice["index"] for choice in body["choices"]] == list(range(len(texts)))


def test_the_worker_gets_what_was_asked(
    call: Caller, model: str, worker: InProcessCompletions
) -> None:
    complete(call, model, max_tokens=3, temperature=0, stop="x", seed=5, echo=True, top_k=4)

    request = worker.requests[0]
    assert (request.options.max_tokens, request.options.temperature) == (3, 0)
    assert (request.options.stop, request.options.top_k) == (("x",), 4)
    assert (request.seed, request.echo, request.n) == (5, True, 1)
    assert request.bundle.artifact == "jobs/ftjob-1/1/model"


def test_an_alias_answers_with_the_real_id(call: Caller, model: str) -> None:
    call("PUT", "/v1/aliases/bot", json={"model": model})

    assert complete(call, "bot").get_json()["model"] == model


def test_a_stream(call: Caller, model: str) -> None:
    answer = complete(call, model, stream=True)

    assert answer.mimetype == "text/event-stream"
    found = chunks(answer.text)
    assert "".join(chunk["choices"][0]["text"] for chunk in found) == "fedcba"
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in found]
    assert reasons == [None, "length"]
    assert all("usage" not in chunk for chunk in found)
    assert len({chunk["id"] for chunk in found}) == 1


def test_a_stream_with_usage(call: Caller, model: str) -> None:
    options = {"include_usage": True}

    found = chunks(complete(call, model, stream=True, stream_options=options).text)

    assert [chunk["usage"] for chunk in found[:-1]] == [None] * (len(found) - 1)
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["total_tokens"] == 12


def test_each_chunk_of_a_stream_is_of_one_choice(call: Caller, model: str) -> None:
    found = chunks(complete(call, model, stream=True, prompt=["ab", "cdef"], n=2).text)

    texts = ["", "", "", ""]
    for chunk in found:
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == ["ba", "ba", "fedc", "fedc"]


def test_a_preset_has_nothing_to_say(call: Caller) -> None:
    answer = complete(call, "lstm-auto")

    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert error["code"] == "model_not_trained"
    assert "fine_tuning.jobs.create" in error["message"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"logprobs": 6}, "invalid_value", "logprobs"),
        ({"logprobs": 1, "echo": True, "suffix": "x"}, "invalid_value", "echo"),
        ({"best_of": 21}, "invalid_value", "best_of"),
        ({"best_of": 2, "n": 3}, "invalid_value", "best_of"),
        ({"best_of": 2, "stream": True}, "invalid_value", "best_of"),
        ({"best_of": 20, "prompt": ["a"] * 20}, "too_many_choices", "best_of"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
        ({"temperature": 3}, "invalid_value", "temperature"),
        ({"temperature": []}, "invalid_value", "temperature"),
        ({"temperature": [1, 2.5]}, "invalid_value", "temperature"),
        ({"top_k": -2}, "invalid_value", "top_k"),
        ({"min_p": 1.1}, "invalid_value", "min_p"),
        ({"typical_p": 0}, "invalid_value", "typical_p"),
        ({"frequency_penalty": 2.1}, "invalid_value", "frequency_penalty"),
        ({"presence_penalty": -2.1}, "invalid_value", "presence_penalty"),
        ({"repetition_penalty": 0}, "invalid_value", "repetition_penalty"),
        ({"no_repeat_ngram_size": -1}, "invalid_value", "no_repeat_ngram_size"),
        ({"min_tokens": 17}, "invalid_value", "min_tokens"),
        ({"stop": ["a"] * 5}, "invalid_value", "stop"),
        ({"stop": [""]}, "invalid_value", "stop"),
        ({"stop_token_ids": [-1]}, "invalid_value", "stop_token_ids"),
        ({"logit_bias": {"4": 101}}, "invalid_value", "logit_bias"),
        ({"logit_bias": {"a": 1}}, "invalid_value", "logit_bias"),
        ({"allowed_token_ids": []}, "invalid_value", "allowed_token_ids"),
        ({"bad_words": ["a\ud800"]}, "invalid_value", "bad_words"),
        ({"allowed_words": []}, "invalid_value", "allowed_words"),
        ({"reject_if_copied_over": 0}, "invalid_value", "reject_if_copied_over"),
        ({"prompt": []}, "invalid_value", "prompt"),
        ({"prompt": "x" * 300_000}, "prompt_too_long", "prompt"),
        ({"n": 0}, "invalid_value", "n"),
        ({"n": 129}, "invalid_value", "n"),
        ({"n": 128, "prompt": ["a", "b", "c"]}, "too_many_choices", "n"),
        ({"max_token": 3}, "unknown_option", "max_token"),
    ],
)
def test_what_cannot_be_completed_is_a_400(
    call: Caller, model: str, body: dict[str, Any], code: str, param: str
) -> None:
    answer = complete(call, model, **body)

    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert (error["code"], error["param"]) == (code, param)


def test_an_unknown_model(call: Caller) -> None:
    assert complete(call, "ft:none").status_code == 404


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", [BrokerUnavailable("away"), NoWorker("none")])
def test_without_a_worker_the_status_says_so(
    call: Caller, model: str, worker: InProcessCompletions, failure: Exception, stream: bool
) -> None:
    worker.failure = failure

    answer = complete(call, model, stream=stream)

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ({"code": "engine_full", "message": "m", "param": None}, 429),
        ({"code": "worker_lost", "message": "m", "param": None}, 503),
        ({"code": "token_unknown", "message": "m", "param": "prompt"}, 400),
        ({"code": "model_not_loaded", "message": "m", "param": "model"}, 503),
        ({"code": "model_unreadable", "message": "m", "param": "model"}, 503),
        ({"code": "odd", "message": "m", "param": None}, 500),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_workers_refusal_has_its_status(
    call: Caller,
    model: str,
    worker: InProcessCompletions,
    reason: dict[str, Any],
    status: int,
    stream: bool,
) -> None:
    worker.instead = [StreamEntry(kind="error", error=reason)]

    answer = complete(call, model, stream=stream)

    assert answer.status_code == status
    assert answer.get_json()["error"]["code"] == reason["code"]


def test_an_error_in_mid_stream_is_said_in_the_stream(
    call: Caller, model: str, worker: InProcessCompletions
) -> None:
    lost = {"code": "worker_lost", "message": "Gone.", "param": None}
    worker.instead = [
        StreamEntry(kind="accepted", worker="here"),
        StreamEntry(kind="delta", deltas=(ChoiceDelta(index=0, text="ab"),)),
        StreamEntry(kind="error", error=lost),
    ]

    text = complete(call, model, stream=True).text

    last = json.loads(text.strip().rsplit("data: ", 1)[1])
    assert last["error"]["code"] == "worker_lost"
    assert "[DONE]" not in text


def test_waiting_is_a_comment(call: Caller, model: str, worker: InProcessCompletions) -> None:
    worker.before = [StreamEntry(kind="accepted", worker="here"), None]

    text = complete(call, model, stream=True).text

    assert text.startswith(": still working\n\n")
    assert len(chunks(text)) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_the_work(
    call: Caller, model: str, worker: InProcessCompletions, stream: bool
) -> None:
    server, client = socket.socketpair()
    client.close()
    worker.before = [StreamEntry(kind="accepted", worker="here"), None]

    there = complete(call, model, stream=stream)
    assert "fed" in there.text
    worker.closed.clear()
    body = {"model": model, "prompt": "abcdef", "stream": stream}
    gone = call("POST", "/v1/completions", json=body, environ_overrides={"gunicorn.socket": server})

    server.close()
    assert worker.closed.is_set()  # which is how the worker learns of it
    assert "fed" not in gone.text


def test_long_answers_leave_threads_for_short_ones(
    call: Caller, model: str, services: Services
) -> None:
    places = [services.answers.take() for _ in range(services.settings.web_threads * 3 // 4)]

    refused = complete(call, model)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert call("GET", "/v1/models").status_code == 200

    places[0].free()
    places[0].free()
    assert complete(call, model).status_code == 200
    assert complete(call, model, stream=True).status_code == 200
    assert complete(call, model).status_code == 200  # the stream gave its place back


def test_a_suffix_is_for_models_that_learnt_gaps(call: Caller, model: str) -> None:
    answer = complete(call, model, suffix="xyz")
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "suffix_not_learnt"


@pytest.mark.parametrize("suffix", [None, ""])
def test_an_empty_suffix_is_none(
    call: Caller, model: str, worker: InProcessCompletions, suffix: str | None
) -> None:
    assert complete(call, model, suffix=suffix).status_code == 200
    assert worker.requests[0].suffix is None


NAMED = {
    "best_of": None,
    "logprobs": None,
    "logit_bias": None,
    "frequency_penalty": None,
    "presence_penalty": None,
    "stop": None,
    "seed": None,
    "stream_options": None,
    "user": None,
}


def test_null_is_what_is_left_out(call: Caller, model: str, worker: InProcessCompletions) -> None:
    assert complete(call, model, **NAMED).status_code == 200
    assert complete(call, model).status_code == 200
    first, second = worker.requests
    assert first.options == second.options


def test_every_sampling_option_reaches_the_worker(
    call: Caller, model: str, worker: InProcessCompletions
) -> None:
    options = {
        "max_tokens": 40, "min_tokens": 2, "stop": ["x"], "stop_token_ids": [3],
        "include_stop_str_in_output": True, "ignore_eos": True, "temperature": [0.5, 1.0],
        "top_p": 0.5, "top_k": 3, "min_p": 0.1, "typical_p": 0.9, "seed": 4,
        "frequency_penalty": 1.0, "presence_penalty": -1.0, "repetition_penalty": 1.1,
        "no_repeat_ngram_size": 3, "reject_if_copied_over": 30, "logit_bias": {"5": -1.5},
        "allowed_token_ids": [5, 6], "bad_words": ["no"], "allowed_words": ["yes"],
    }  # fmt: skip
    assert set(options) == set(SamplingOptions.model_fields)
    assert complete(call, model, **options, logprobs=2, best_of=3).status_code == 200
    request = worker.requests[0]
    assert request.options == SamplingOptions(**options)
    assert (request.n, request.ranked, request.logprobs) == (3, True, 2)


def test_log_probabilities_come_as_parallel_arrays(call: Caller, model: str) -> None:
    answer = Completion.model_validate(complete(call, model, logprobs=1, n=2).get_json())
    for choice in answer.choices:
        told = choice.logprobs
        assert told is not None and told.tokens == list("fedcba")
        assert told.token_logprobs == [-0.5 - choice.index] * 6
        assert told.top_logprobs == [{each: -0.5 - choice.index} for each in "fedcba"]
        assert told.text_offset == [0, 1, 2, 3, 4, 5]


def test_the_chunks_of_a_stream_have_the_log_probabilities_of_their_tokens(
    call: Caller, model: str
) -> None:
    found = chunks(complete(call, model, stream=True, logprobs=0).text)
    arrays = [chunk["choices"][0]["logprobs"] for chunk in found]
    assert [each["tokens"] for each in arrays] == [list("fed"), list("cba")]
    assert [each["text_offset"] for each in arrays] == [[0, 1, 2], [3, 4, 5]]
    plain = chunks(complete(call, model, stream=True).text)
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in plain)


def test_of_the_best_the_likeliest_are_sent_in_their_order(call: Caller, model: str) -> None:
    body = complete(call, model, prompt=["ab", "cd"], n=2, best_of=4).get_json()
    # The in-process worker likes the last choices of a prompt best, and marks them by their number.
    assert [choice["text"] for choice in body["choices"]] == ["ba3", "ba2", "dc3", "dc2"]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["completion_tokens"] == 4 * 4
