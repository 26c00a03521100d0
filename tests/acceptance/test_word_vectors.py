"""Word vectors as the input, through the whole service and the official client."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.stack import wait_for

SENTENCES = "the cat saw the dog\nthe dog saw the cat\nthe man saw the moon\n" * 60
VECTORS = "4 5\n" + "".join(
    f"{word} {number} 0.5 -1 {number} 2\n"
    for number, word in enumerate(("the", "cat", "dog", "saw"))
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.txt"
    path.write_text(SENTENCES)
    return path


def test_a_training_begins_with_the_vectors_of_a_file(client: openai.OpenAI, corpus: Path) -> None:
    file = client.files.create(file=corpus, purpose="fine-tune")
    vectors = client.files.create(file=("some.vec", VECTORS.encode()), purpose="user_data")

    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=file.id,
        extra_body={
            "embeddings_file": vectors.id,
            "hyperparameters": {"max_steps": 20, "format": "lines", "freeze_embeddings": True},
        },
    )
    model = wait_for(client, job.id).fine_tuned_model

    events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    (said,) = (each for each in events if "has vectors for" in each.message)
    assert said.data["found"] == 4  # type: ignore[index]
    assert model is not None
    answer = client.completions.create(model=model, prompt="the ", max_tokens=5, seed=1)
    assert answer.choices[0].text


def test_a_file_of_something_else_says_at_which_line(client: openai.OpenAI, corpus: Path) -> None:
    file = client.files.create(file=corpus, purpose="fine-tune")
    cut = client.files.create(file=("cut.vec", VECTORS[:-9].encode()), purpose="user_data")
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=file.id,
        extra_body={"embeddings_file": cut.id, "hyperparameters": {"max_steps": 5}},
    )

    failed = wait_for(client, job.id, "failed")

    assert failed.error is not None
    assert failed.error.code == "invalid_word_vectors"
    assert failed.error.param == "embeddings_file"
    assert "cut.vec, line 5" in failed.error.message
