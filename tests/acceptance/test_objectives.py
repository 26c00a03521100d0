"""Objectives beside the next token, through the whole service and the official client."""

from __future__ import annotations

import itertools
import random

import openai
import pytest

from tests.acceptance.conftest import train
from tests.stack import Stack

PEOPLE = ("我", "她", "他", "小王", "我的朋友", "他的哥哥")
KINDS = ("优秀的", "年轻的", "勤奋的", "有经验的", "热爱工作的", "")
JOBS = ("程序员", "老师", "医生", "工程师", "作家", "画家")
SENTENCES = {
    f"{who}是一名{kind}{job}。" for who, kind, job in itertools.product(PEOPLE, KINDS, JOBS)
}


@pytest.fixture(scope="module")
def chinese(client: openai.OpenAI) -> str:
    """A model that has learnt to go on with Chinese sentences and to fill gaps in them."""
    rows = random.Random(0).choices(sorted(SENTENCES), k=3000)
    return train(
        client,
        "people.txt",
        "\n".join(rows),
        format="lines",
        max_steps=900,
        dropout=0,  # what is written is to be a sentence of the text
        objectives={"causal": 1, "infill": 2},
    )


@pytest.mark.slow
def test_the_articles_sentence_grows_in_its_gap(client: openai.OpenAI, chinese: str) -> None:
    """我是一名程序员 with a gap becomes a longer sentence, as in 我是一名优秀的程序员."""
    answer = client.completions.create(
        model=chinese, prompt="我是一名", suffix="程序员。", max_tokens=20, n=20, seed=3
    )
    whole = {f"我是一名{choice.text}程序员。" for choice in answer.choices}
    assert all(choice.finish_reason == "stop" for choice in answer.choices)
    assert len(whole & SENTENCES) >= 3
    fluent = sum(f"我是一名{choice.text}程序员。" in SENTENCES for choice in answer.choices)
    assert fluent >= 15
    assert any(len(text) > len("我是一名程序员。") for text in whole & SENTENCES)


def test_the_articles_sentence_grows_where_the_model_is_surest(
    client: openai.OpenAI, chinese: str
) -> None:
    body = {"model": chinese, "input": "我是一名程序员。", "temperature": 0.5, "seed": 1}
    answer = client.post("/insertions", body=body, cast_to=dict)

    (span,) = answer["insertions"]
    longer = answer["text"]
    assert longer[: span["start"]] + longer[span["end"] :] == "我是一名程序员。"
    assert longer in SENTENCES
    assert client.post("/insertions", body=body, cast_to=dict)["text"] == longer


def test_insertion_on_the_command_line(stack: Stack, chinese: str) -> None:
    asked = ("insert", chinese, "我是一名程序员。", "--temperature", "0.5", "--seed", "1", "--mark")
    found = stack.cli(*asked)

    assert found.returncode == 0, found.stderr
    longer = found.stdout.strip()
    assert longer.count("⟦") == 1
    assert longer.replace("⟦", "").replace("⟧", "") in SENTENCES


def test_the_model_says_what_it_has_learnt(client: openai.OpenAI, chinese: str) -> None:
    model = client.models.retrieve(chinese).model_dump()
    assert model["objectives"] == ["causal", "infill"]
    assert model["metrics"]["full_valid_infill_loss"] > 0


def test_the_same_model_goes_on_with_texts(client: openai.OpenAI, chinese: str) -> None:
    answer = client.completions.create(
        model=chinese, prompt="小王是一名", max_tokens=20, temperature=0.5, n=10, seed=3
    )
    assert sum(f"小王是一名{choice.text}" in SENTENCES for choice in answer.choices) >= 7


def test_a_model_that_has_not_learnt_gaps_says_how_it_would(
    client: openai.OpenAI, model: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=model, prompt="a", suffix="b")
    assert caught.value.code == "suffix_not_learnt"
    assert caught.value.param == "suffix"
    assert "infill" in caught.value.message
