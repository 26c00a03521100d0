"""Replies in conversations over HTTP, with a worker that says each last turn backwards."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.web.conftest import Caller, publish
from tests.unit.web.in_process import InProcessCompletions
from web.services import Services
from worker.contracts import (
    ChatTurn,
    ChoiceDelta,
    Conversation,
    StreamEntry,
    TokenLogprob,
    Usage,
)
from worker.errors import NoWorker
from worker.storage.models import NewModel

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def speaker(services: Services) -> str:
    header = {"objectives": ["causal"], "rows": "messages"}
    new = NewModel("ft:speaker", "acme", "jobs/1/1/model", "model.safetensors", header=header)
    return publish(services, new)


def ask(call: Caller, model: str, **body: Any) -> Any:
    return call("POST", "/v1/chat/completions", json={"model": model, "messages": HELLO, **body})


def chunks(answer: Any) -> list[Any]:
    events = [each for each in answer.text.split("\n\n") if each and not each.startswith(":")]
    assert events[-1] == "data: [DONE]"
    return [json.loads(each.removeprefix("data: ")) for each in events[:-1]]


def test_a_reply_in_one_piece(call: Caller, speaker: str, worker: InProcessCompletions) -> None:
    call("PUT", "/v1/aliases/bot", json={"model": speaker})
    answer = ask(call, "bot")
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body.pop("id").startswith("chatcmpl-")
    assert body.pop("created") > 0
    assert body == {
        "object": "chat.completion",
        "model": speaker,
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "olleh", "refusal": None},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
    }
    request = worker.requests[0]
    assert request.task == "reply"
    assert request.prompts == (Conversation(turns=(ChatTurn(role="user", text="hello"),)),)


def test_messages_as_clients_send_them(
    call: Caller, speaker: str, worker: InProcessCompletions
) -> None:
    messages = [
        {"role": "developer", "content": "be brief", "name": None},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "refusal": None, "tool_calls": [], "audio": None},
        {"role": "user", "content": "d", "name": "Ann"},
    ]
    assert ask(call, speaker, messages=messages).status_code == 200
    (prompt,) = worker.requests[0].prompts
    assert isinstance(prompt, Conversation)
    assert [(turn.role, turn.text) for turn in prompt.turns] == [
        ("system", "be brief"), ("user", "ab"), ("assistant", "c"), ("user", "d"),
    ]  # fmt: skip


def test_options_go_to_the_engine(call: Caller, speaker: str, worker: InProcessCompletions) -> None:
    body = ask(
        call, speaker, max_completion_tokens=3, temperature=0.5, top_k=7, seed=4, n=2, stop="x",
        user="u", store=False, tools=[], tool_choice="auto", response_format={"type": "text"},
        top_p=None, stream=False, stream_options=None, parallel_tool_calls=True,
    ).get_json()  # fmt: skip
    assert [(each["index"], each["message"]["content"]) for each in body["choices"]] == [
        (0, "oll"), (1, "oll"),
    ]  # fmt: skip
    request = worker.requests[0]
    options = request.options
    assert (options.max_tokens, options.temperature, options.top_k) == (3, 0.5, 7)
    assert (options.stop, request.seed, request.n) == (("x",), 4, 2)


def test_without_a_bound_a_reply_may_be_long(
    call: Caller, speaker: str, worker: InProcessCompletions
) -> None:
    ask(call, speaker)
    ask(call, speaker, max_tokens=9)
    assert [each.options.max_tokens for each in worker.requests] == [4096, 9]


def test_a_stream_has_openings_texts_ends_and_the_usage(call: Caller, speaker: str) -> None:
    answer = ask(call, speaker, n=2, stream=True, stream_options={"include_usage": True})
    assert answer.mimetype == "text/event-stream"
    found = chunks(answer)
    assert {each["object"] for each in found} == {"chat.completion.chunk"}
    assert len({each["id"] for each in found}) == 1
    assert [each["choices"][0]["delta"] for each in found[:2]] == [
        {"role": "assistant", "content": "", "refusal": None}
    ] * 2
    said: dict[int, str] = {0: "", 1: ""}
    ends = {}
    for chunk in found[:-1]:
        assert chunk["usage"] is None
        (choice,) = chunk["choices"]  # clients look at the first one alone
        said[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"] is not None:
            assert choice["delta"] == {}
            ends[choice["index"]] = choice["finish_reason"]
    assert said == {0: "olleh", 1: "olleh"}
    assert ends == {0: "length", 1: "length"}
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["completion_tokens"] == 10
    assert all("usage" not in each for each in chunks(ask(call, speaker, stream=True)))


def test_a_stream_that_fails_says_so(
    call: Caller, speaker: str, worker: InProcessCompletions
) -> None:
    lost = {"code": "worker_lost", "message": "It died.", "param": None}
    worker.instead = [
        StreamEntry(kind="accepted", worker="here"),
        StreamEntry(kind="error", error=lost),
    ]
    text = ask(call, speaker, stream=True).text
    assert '"worker_lost"' in text
    assert "[DONE]" not in text
    worker.failure = NoWorker("None is running.")
    assert ask(call, speaker, stream=True).status_code == 503


def test_other_models_say_how_to_get_one_that_talks(call: Caller, model: str) -> None:
    answer = ask(call, model)
    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert (error["code"], error["param"]) == ("not_a_chat_model", "model")
    assert '"messages"' in error["message"]
    assert ask(call, "lstm-auto").get_json()["error"]["code"] == "model_not_trained"
    assert ask(call, "none").status_code == 404


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "hello"}, "messages", "must be a list"),
        ({"messages": [{"role": "user"}]}, "messages", "required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages", "no tools"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages", "'assistant'"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [1]}]}, "messages", "leave"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages", "'text'",
        ),
        ({"tools": [{"type": "function"}]}, "tools", "leave it out"),
        ({"response_format": {"type": "json_object"}}, "response_format", "leave it out"),
        ({"max_tokens": 4, "max_completion_tokens": 5}, "max_tokens", "two names"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "from 1 to"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"massages": []}, "massages", "'messages'"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "streams"),
        ({"prompt": "x"}, "prompt", "Known options"),
        ({"n": 999}, "n", "128"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(
    call: Caller, speaker: str, body: dict[str, Any], param: str, says: str
) -> None:
    answer = ask(call, speaker, **body)
    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert error["param"] == param
    assert says in error["message"]


def test_too_much_for_one_request(call: Caller, speaker: str, services: Services) -> None:
    half = {"role": "user", "content": "a" * (services.settings.max_prompt_characters // 2 + 1)}
    error = ask(call, speaker, messages=[half, half]).get_json()["error"]
    assert (error["code"], error["param"]) == ("prompt_too_long", "messages")


def test_log_probabilities_in_chats_shape(
    call: Caller, speaker: str, worker: InProcessCompletions
) -> None:
    part = TokenLogprob(token=7, text=r"bytes:\xe6", logprob=-0.5, top={r"bytes:\xe6": -0.5})
    token = TokenLogprob(
        token=3, text="我", logprob=-3.0, top={"我": -3.0, "a": -1.0, "b": -0.75}, offset=1
    )
    end = TokenLogprob(token=0, text="<|end|>", logprob=-0.1, top={"<|end|>": -0.1}, offset=2)
    worker.instead = [
        StreamEntry(kind="accepted", worker="here"),
        StreamEntry(kind="delta", deltas=(ChoiceDelta(index=0, text="", logprobs=(part,)),)),
        StreamEntry(
            kind="end",
            deltas=(ChoiceDelta(index=0, text="我", finish_reason="stop", logprobs=(token, end)),),
            usage=Usage(),
        ),
    ]
    wanted = [
        {
            "token": r"bytes:\xe6", "logprob": -0.5, "bytes": [0xE6],
            "top_logprobs": [{"token": r"bytes:\xe6", "logprob": -0.5, "bytes": [0xE6]}],
        },
        {
            "token": "我", "logprob": -3.0, "bytes": [0xE6, 0x88, 0x91],
            "top_logprobs": [
                {"token": "b", "logprob": -0.75, "bytes": [98]},
                {"token": "a", "logprob": -1.0, "bytes": [97]},
            ],
        },
    ]  # fmt: skip
    whole = ask(call, speaker, logprobs=True, top_logprobs=2).get_json()
    assert whole["choices"][0]["logprobs"] == {"content": wanted, "refusal": None}
    assert worker.requests[-1].logprobs == 2
    told = []
    for chunk in chunks(ask(call, speaker, logprobs=True, top_logprobs=2, stream=True)):
        for choice in chunk["choices"]:
            told += choice["logprobs"]["content"] if choice["logprobs"] else []
    assert told == wanted
    without = ask(call, speaker, logprobs=True).get_json()["choices"][0]["logprobs"]["content"]
    assert [each["top_logprobs"] for each in without] == [[], []]
    assert worker.requests[-1].logprobs == 0
    assert ask(call, speaker).get_json()["choices"][0]["logprobs"] is None
    error = ask(call, speaker, top_logprobs=2).get_json()["error"]
    assert error["param"] == "top_logprobs"


def test_a_reply_has_a_state_and_a_conversation_goes_on_from_it(
    call: Caller, speaker: str, worker: InProcessCompletions
) -> None:
    body = ask(call, speaker, n=2, return_state=True).get_json()
    ids = [choice["state_id"] for choice in body["choices"]]
    assert len(set(ids)) == 2
    body = ask(call, speaker, state_id=ids[1]).get_json()
    assert "state_id" not in body["choices"][0]
    assert json.loads(worker.requests[-1].state or "")["after"] == "olleh"
    told = chunks(ask(call, speaker, stream=True, state_id=ids[0], return_state=True))
    choices = [choice for chunk in told for choice in chunk["choices"]]
    states = [choice.get("state_id") for choice in choices]
    assert [state is None for state in states] == [
        choice["finish_reason"] is None for choice in choices
    ]
    assert states[-1] not in (None, *ids)


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"state_id": "state_none"}, 404, "state_not_found", "state_id"),
        ({"state_id": 7}, 400, None, "state_id"),
        ({"return_state": "perhaps"}, 400, None, "return_state"),
        ({"state_id": "state_none", "messages": []}, 400, None, "messages"),
    ],
)
def test_states_of_conversations_are_checked(
    call: Caller, speaker: str, body: dict[str, Any], status: int, code: str | None, param: str
) -> None:
    answer = ask(call, speaker, **body)
    error = answer.get_json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert code in (None, error["code"])
