"""Conversations with a trained model, through the official client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.acceptance.talks import SAYS, messages
from tests.stack import Stack, wait_for_batch


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


@pytest.mark.parametrize("strictly", [False, True], ids=["ordinary", "strict"])
def test_log_probabilities_of_a_reply(stack: Stack, speaker: str, strictly: bool) -> None:
    client: Any = stack.client(strict=strictly)
    answer = client.chat.completions.create(
        model=speaker, messages=messages("hello"), temperature=0, logprobs=True, top_logprobs=3
    )
    told = answer.choices[0].logprobs.content
    assert "".join(each.token for each in told) == SAYS["hello"]
    for each in told:
        assert bytes(each.bytes).decode() == each.token
        assert len(each.top_logprobs) == 3
        assert each.top_logprobs[0].token == each.token  # the likeliest, at temperature 0
        assert each.top_logprobs[0].logprob == each.logprob <= 0


def test_the_command_line_talks(stack: Stack, speaker: str) -> None:
    one = stack.cli("chat", speaker, "hello", "--temperature", "0", "--system", "you are bot 7")
    assert (one.returncode, one.stdout) == (0, "good day\n"), one.stderr
    both = stack.cli("chat", speaker, "--temperature", "0", given="hello\nbye\n\n你好\n")
    assert both.stdout.splitlines() == ["good day", "farewell", "您好"]
    assert stack.cli("chat", "nobody", "hello").returncode == 1


@pytest.mark.parametrize("strictly", [False, True], ids=["ordinary", "strict"])
def test_a_conversation_goes_on_from_a_state(stack: Stack, speaker: str, strictly: bool) -> None:
    client: Any = stack.client(strict=strictly)

    def say(said: str, **extra: Any) -> Any:
        return client.chat.completions.create(
            model=speaker, messages=messages(said), temperature=1.3, seed=2, extra_body=extra
        )

    first = say("hello", return_state=True)
    state = first.choices[0].state_id
    so_far = [
        *messages("hello"),
        {"role": "assistant", "content": first.choices[0].message.content},
    ]
    for said in ("bye", "你好"):  # a branch: the same state twice
        whole = client.chat.completions.create(
            model=speaker, messages=so_far + messages(said), temperature=1.3, seed=2
        )
        on = say(said, state_id=state)
        assert on.choices[0].message.content == whole.choices[0].message.content
        assert on.usage.prompt_tokens < whole.usage.prompt_tokens


def test_the_command_line_takes_a_turn_back(stack: Stack, speaker: str) -> None:
    lines = "/undo\nhello\nbye\n/undo\n你好\n"
    talk = stack.cli("chat", speaker, "--temperature", "0", given=lines)
    assert talk.stdout.splitlines() == ["good day", "farewell", "您好"]
    assert "nothing to take back" in talk.stderr
