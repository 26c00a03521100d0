"""A name moves to another model while texts are written: nobody is cut off, nobody is mixed up."""

from __future__ import annotations

from typing import Any

import httpx
import openai

from tests.acceptance.conftest import TINY_STEPS, VERSES, train
from tests.stack import Stack

LONG = {"prompt": "The king ", "max_tokens": 5000, "seed": 4, "temperature": 1.5}


def move(http: httpx.Client, model: str) -> None:
    assert http.put("/v1/aliases/hot", json={"model": model}).status_code == 200


def written(client: openai.OpenAI, model: str, **body: Any) -> tuple[str, str]:
    """The id that answers, and its text."""
    answer = client.completions.create(model=model, **{**LONG, **body})
    return answer.model, answer.choices[0].text


def test_a_stream_ends_on_its_model_and_what_comes_after_is_of_the_new_one(
    stack: Stack, client: openai.OpenAI, model: str
) -> None:
    old, new = model, train(client, "again.txt", VERSES, **{**TINY_STEPS, "max_steps": 20})
    with stack.http() as http:
        move(http, old)
        stream = iter(client.completions.create(model="hot", stream=True, **LONG))
        chunks = [next(stream)]  # it is under way
        move(http, new)
        during = written(client, "hot", max_tokens=50)
        chunks += stream
        move(http, old)
        after = written(client, "hot", max_tokens=50)

    assert {chunk.model for chunk in chunks} == {old}
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert (old, text) == written(client, old)
    assert len(text) > 1000
    assert during == written(client, new, max_tokens=50)
    assert after == written(client, old, max_tokens=50)
    assert during != after
