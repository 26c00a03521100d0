"""Files of every kind and every tokenizer, trained on through the whole service."""

from __future__ import annotations

import json
from collections.abc import Sequence

import openai
import pytest

from tests.acceptance.conftest import train, wait_for

ANIMALS = {"cow": "moo", "dog": "woof", "cat": "meow", "duck": "quack", "sheep": "baa"}
QUESTIONS = [
    (f"What does the {animal} say?", f"The {animal} says {sound}.")
    for animal, sound in ANIMALS.items()
]


# There are five kinds of row, each of which is to be learnt.
ALL_LEARNT = {"max_steps": 300, "validation_fraction": 0}


def jsonl(rows: Sequence[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def answer(client: openai.OpenAI, model: str, prompt: str) -> str:
    whole = client.completions.create(model=model, prompt=prompt, max_tokens=60, temperature=0)
    return whole.choices[0].text


def test_prompts_are_answered(client: openai.OpenAI) -> None:
    rows = [{"prompt": prompt, "completion": reply} for prompt, reply in QUESTIONS] * 60
    model = train(client, "rows.jsonl", jsonl(rows), **ALL_LEARNT)
    assert {prompt: answer(client, model, prompt) for prompt, _ in QUESTIONS} == dict(QUESTIONS)
    assert client.models.retrieve(model).model_dump()["rows"] == "prompts"


def test_conversations_are_learnt(client: openai.OpenAI) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": reply},
            ]
        }
        for prompt, reply in QUESTIONS
    ] * 60
    model = train(client, "chat.jsonl", jsonl(rows), **ALL_LEARNT)
    assert {prompt: answer(client, model, prompt) for prompt, _ in QUESTIONS} == dict(QUESTIONS)


@pytest.mark.parametrize("tokenizer", ["byte", "bpe", "unigram", "word"])
def test_every_tokenizer_trains_and_writes(client: openai.OpenAI, tokenizer: str) -> None:
    lines = "\n".join(reply for _, reply in QUESTIONS * 60)
    options = {**ALL_LEARNT, "format": "lines", "tokenizer": tokenizer}
    model = train(client, "lines.txt", lines, **options)
    assert answer(client, model, "The duck says") == " quack."


def test_several_files_are_one_corpus(client: openai.OpenAI) -> None:
    ids = []
    for number, part in enumerate((QUESTIONS[:2], QUESTIONS[2:])):
        content = "".join(f"{reply}\n" for _, reply in part) * 60
        file = client.files.create(file=(f"{number}.txt", content.encode()), purpose="fine-tune")
        ids.append(file.id)
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=ids[0],
        extra_body={
            "training_files": ids[1:],
            "hyperparameters": ALL_LEARNT,
        },
    )
    model = str(wait_for(client, job.id).fine_tuned_model)
    for animal, sound in ANIMALS.items():
        assert answer(client, model, f"The {animal} says").startswith(f" {sound}.")


def test_a_row_of_another_kind_fails_the_job_with_its_line(client: openai.OpenAI) -> None:
    rows = [{"text": "some text"}, {"prompt": "a", "completion": "b"}]
    content = jsonl(rows)
    file = client.files.create(file=("mixed.jsonl", content.encode()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="lstm-tiny", training_file=file.id)
    ended = wait_for(client, job.id, "failed")
    assert ended.error is not None
    assert ended.error.code == "invalid_jsonl_line"
    assert "mixed.jsonl, line 2" in ended.error.message
