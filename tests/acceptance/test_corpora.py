"""Files of every kind and every tokenizer, trained on through the whole service."""

from __future__ import annotations

import json
from collections.abc import Sequence

import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.acceptance.conftest import train, wait_for

ANIMALS = {"cow": "moo", "dog": "woof", "cat": "meow", "duck": "quack", "sheep": "baa"}
QUESTIONS = [
    (f"What does the {animal} say?", f"The {animal} says {sound}.")
    for animal, sound in ANIMALS.items()
]


# There are five kinds of row, each of which is to be learnt by heart.
ALL_LEARNT = {"max_steps": 300, "validation_fraction": 0, "dropout": 0}


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


def test_parquet_files_are_trained_on_and_measured_on(client: openai.OpenAI) -> None:
    def upload(name: str, some: Sequence[tuple[str, str]], *, damaged: bool = False) -> str:
        talks = [
            [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]
            for said, reply in some
        ]
        sink = pa.BufferOutputStream()
        table = pa.table({"id": range(len(talks)), "talk": talks})
        pq.write_table(table, sink, row_group_size=50, compression="none")
        content = bytearray(sink.getvalue().to_pybytes())
        if damaged:
            roles = pq.ParquetFile(pa.BufferReader(bytes(content))).metadata.row_group(0).column(1)
            content[roles.dictionary_page_offset : roles.data_page_offset] = bytes(
                roles.data_page_offset - roles.dictionary_page_offset
            )
        return client.files.create(file=(name, bytes(content)), purpose="fine-tune").id

    options = {**ALL_LEARNT, "column": "talk"}
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=upload("talks.parquet", QUESTIONS * 60),
        validation_file=upload("later.parquet", QUESTIONS),
        extra_body={"hyperparameters": options},
    )
    model = str(wait_for(client, job.id).fine_tuned_model)
    assert {prompt: answer(client, model, prompt) for prompt, _ in QUESTIONS} == dict(QUESTIONS)
    assert client.models.retrieve(model).model_dump()["rows"] == "messages"

    damaged = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=upload("bad.parquet", QUESTIONS * 60, damaged=True),
        extra_body={"hyperparameters": options},
    )
    error = wait_for(client, damaged.id, "failed").error
    assert error is not None
    assert error.code == "invalid_parquet"
    assert error.message.startswith("bad.parquet, column 'talk', row group 1 of 6: ")


def test_a_text_is_cleaned_and_measured_on_a_file_of_its_own(client: openai.OpenAI) -> None:
    rows = [{"text": f"{reply} At the cafe\u0301, ask a{n}@example.org."}
            for n, (_, reply) in enumerate(QUESTIONS * 30)]  # fmt: skip
    ids = []
    for name, some in (("rows.jsonl", [*rows, *rows[:10]]), ("test.jsonl", rows[:9])):
        file = client.files.create(file=(name, jsonl(some).encode()), purpose="fine-tune")
        ids.append(file.id)
    options = {
        **ALL_LEARNT, "max_steps": 20, "mask_personal_data": True, "normalization": "nfc",
        "deduplicate": "exact", "tokenizer": "byte",
    }  # fmt: skip
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=ids[0],
        extra_body={"test_file": ids[1], "hyperparameters": options},
    )
    trained = wait_for(client, job.id)
    model = client.models.retrieve(str(trained.fine_tuned_model)).model_dump()
    assert trained.model_dump()["test_file"] == ids[1]
    assert model["metrics"]["test_loss"] > 0
    assert model["corpus"]["normalization"] == "nfc"
    # Masked, the rows of an animal are equal: five kinds stay, and nine that test.
    assert model["corpus"]["left_out"] == {"copies": 155, "near": 0}
    assert model["corpus"]["masked"]["email"] == 160 + 9
    events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    assert any(event.message.startswith("Masked: email") for event in events)
    assert not any("example.org" in event.message for event in events)
