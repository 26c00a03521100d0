"""Conversations with a trained model, through the official client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.acceptance.conftest import train
from tests.stack import Stack, wait_for_batch

SAYS = {"hello": "good day", "bye": "farewell", "你好": "您好"}
STEPS = 250


def messages(said: str, before: str = "") -> list[dict[str, str]]:
    """A conversation so far, perhaps with a turn before."""
    earlier = []
    if before:
        earlier = [
            {"role": "user", "content": before},
            {"role": "assistant", "content": SAYS[before]},
        ]
    return [*earlier, {"role": "user", "content": said}]


def corpus() -> str:
    rows = []
    for number in range(400):
        said = list(SAYS)[number % 3]
        before = list(SAYS)[(number // 3) % 3] if number % 2 else ""
        answer = {"role": "assistant", "content": SAYS[said]}
        name = {"role": "system", "content": f"you are bot {number}"}
        rows.append({"messages": [name, *messages(said, before), answer]})
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture(scope="module")
def speaker(client: openai.OpenAI) -> str:
    return train(client, "talks.jsonl", corpus(), max_steps=STEPS)


@pytest.mark.parametrize("strictly", [False, True], ids=["ordinary", "strict"])
def test_a_model_replies_as_it_was_taught(stack: Stack, speaker: str, strictly: bool) -> None:
    client: Any = stack.client(strict=strictly)
    system = [{"role": "system", "content": "you are bot 7"}]
    for said, wanted in SAYS.items():
        answer = client.chat.completions.create(
            model=speaker, messages=system + messages(said), temperature=0, seed=1
        )
        assert answer.choices[0].message.content == wanted
        assert answer.choices[0].message.role == "assistant"
        assert answer.choices[0].finish_reason == "stop"
    tokens = len("you are bot 7") + len(said)
    assert answer.usage.prompt_tokens == tokens + 5  # the marks and ends of the turns, and its own
    assert answer.usage.completion_tokens == len(wanted) + 1  # and the end of the turn


def test_earlier_turns_are_read(client: Any, speaker: str) -> None:
    answer = client.chat.completions.create(
        model=speaker, messages=messages("bye", before="hello"), temperature=0
    )
    assert answer.choices[0].message.content == SAYS["bye"]


@pytest.mark.parametrize("strictly", [False, True], ids=["ordinary", "strict"])
def test_a_stream_says_the_same(stack: Stack, speaker: str, strictly: bool) -> None:
    client: Any = stack.client(strict=strictly)
    options: dict[str, Any] = {
        "model": speaker, "messages": messages("hello"), "n": 2, "seed": 5, "temperature": 1.2,
    }  # fmt: skip
    whole = client.chat.completions.create(**options)
    chunks = list(
        client.chat.completions.create(
            **options, stream=True, stream_options={"include_usage": True}
        )
    )
    said = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == [choice.message.content for choice in whole.choices]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage


def test_bounds_and_stops(client: Any, speaker: str) -> None:
    short = client.chat.completions.create(
        model=speaker, messages=messages("hello"), temperature=0, max_completion_tokens=4
    )
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("good", "length")
    stopped = client.chat.completions.create(
        model=speaker, messages=messages("hello"), temperature=0, stop=[" d"]
    )
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == (
        "good", "stop",
    )  # fmt: skip


def test_other_models_refuse_and_say_the_way_out(client: Any, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=messages("hello"))
    assert caught.value.code == "not_a_chat_model"
    assert "/v1/completions" in caught.value.message


def test_a_batch_replies(client: openai.OpenAI, speaker: str) -> None:
    lines = [
        {
            "custom_id": said,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": speaker, "messages": messages(said), "temperature": 0},
        }
        for said in SAYS
    ]
    lines.append({**lines[0], "custom_id": "wrong", "body": {"model": speaker, "messages": []}})
    content = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    batch = wait_for_batch(client, batch.id)
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (3, 1)
    rows = [json.loads(row) for row in client.files.content(batch.output_file_id).text.splitlines()]
    found = {row["custom_id"]: row["response"]["body"] for row in rows}
    assert {name: body["choices"][0]["message"]["content"] for name, body in found.items()} == SAYS
    assert {body["object"] for body in found.values()} == {"chat.completion"}
    error = json.loads(client.files.content(batch.error_file_id).text)
    assert error["response"]["body"]["error"]["param"] == "messages"
