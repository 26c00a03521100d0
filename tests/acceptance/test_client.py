"""The main way through the official client, as a user goes it: upload, train, poll, generate."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.acceptance.conftest import TINY_STEPS
from tests.corpora import corpus
from tests.stack import Stack, wait_for


@pytest.mark.parametrize("strictly", [False, True], ids=["ordinary", "strict"])
@pytest.mark.parametrize(
    ("name", "preset", "prompt"),
    [("shakespeare.txt", "lstm-small", "ROMEO:"), ("tang.txt", "lstm-tiny", "春")],
)
def test_a_real_corpus_becomes_a_model_that_writes(
    stack: Stack, strictly: bool, name: str, preset: str, prompt: str
) -> None:
    client = stack.client(strict=strictly)
    path = corpus(name)

    file = client.files.create(file=path, purpose="fine-tune")
    assert file.bytes == path.stat().st_size
    job = client.fine_tuning.jobs.create(
        model=preset,
        training_file=file.id,
        suffix="real",
        seed=1,
        extra_body={"hyperparameters": {"max_seconds": 6}},
    )
    assert job.status in ("validating_files", "queued", "running")
    job = wait_for(client, job.id)

    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith(f"ft:{preset}:")
    assert job.trained_tokens > 0
    events = list(client.fine_tuning.jobs.list_events(job.id))
    losses = [
        event.data["train_loss"]
        for event in reversed(events)
        if event.type == "metrics" and event.data and event.data.get("train_loss") is not None
    ]
    assert losses[-1] < losses[0] - 0.3
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert checkpoints
    assert checkpoints[0].metrics.valid_loss is not None

    answer = client.completions.create(
        model=job.fine_tuned_model, prompt=prompt, max_tokens=60, seed=3
    )
    assert 1 <= len(answer.choices[0].text) <= 60
    assert answer.usage is not None
    assert answer.usage.completion_tokens >= len(answer.choices[0].text)
    # A stream's chunks but the last have a null finish_reason, which a strict client refuses.
    chunks = list(
        stack.client().completions.create(
            model=job.fine_tuned_model, prompt=prompt, max_tokens=60, seed=3, stream=True
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")

    from_checkpoint = client.completions.create(
        model=checkpoints[0].fine_tuned_model_checkpoint, prompt=prompt, max_tokens=5
    )
    assert from_checkpoint.choices[0].text


def test_the_metrics_file_is_the_csv_that_openai_gives(client: openai.OpenAI, model: str) -> None:
    job = next(item for item in client.fine_tuning.jobs.list() if item.fine_tuned_model == model)

    lines = client.files.content(job.result_files[0]).text.splitlines()

    assert lines[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert int(lines[-1].split(",")[0]) == TINY_STEPS["max_steps"]


def test_training_goes_on_from_a_trained_model(
    client: openai.OpenAI, model: str, verses_file: str
) -> None:
    job = client.fine_tuning.jobs.create(
        model=model, training_file=verses_file, extra_body={"hyperparameters": {"max_steps": 20}}
    )
    job = wait_for(client, job.id)

    assert job.fine_tuned_model != model
    assert client.models.retrieve(str(job.fine_tuned_model)).id == job.fine_tuned_model


def test_one_seed_one_text(client: openai.OpenAI, model: str) -> None:
    def text(**options: object) -> list[str]:
        answer = client.completions.create(
            model=model, max_tokens=40, **{"prompt": "The ", "seed": 11, **options}
        )
        return [choice.text for choice in answer.choices]

    alone = text()

    assert text() == alone
    assert text(n=3)[:1] == alone
    assert text(prompt=["The ", "A fool "])[:1] == alone
    assert text(seed=12) != alone


def test_stop_and_limits_are_kept(client: openai.OpenAI, model: str) -> None:
    answer = client.completions.create(
        model=model, prompt="The ", max_tokens=200, temperature=0, stop=["."]
    )

    assert answer.choices[0].finish_reason == "stop"
    assert "." not in answer.choices[0].text


def test_a_stream_can_carry_the_usage(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.completions.create(
            model=model, prompt="The ", max_tokens=9, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip

    assert [chunk.usage is None for chunk in chunks[:-1]] == [True] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 4
    assert chunks[-1].usage.completion_tokens == 9


def test_cancelling_a_running_training_ends_it(client: openai.OpenAI, verses_file: str) -> None:
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=verses_file,
        extra_body={"hyperparameters": {"max_steps": 1_000_000}},
    )
    wait_for(client, job.id, "running")

    client.fine_tuning.jobs.cancel(job.id)
    ended = wait_for(client, job.id, "cancelled", seconds=30)

    assert ended.fine_tuned_model is None
    assert ended.finished_at is not None


@pytest.mark.slow
def test_a_paused_training_goes_on_where_it_stood(client: openai.OpenAI, verses_file: str) -> None:
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=verses_file,
        extra_body={"hyperparameters": {"max_steps": 3000, "batch_size": 8}},
    )
    wait_for(client, job.id, "running")
    client.fine_tuning.jobs.pause(job.id)
    wait_for(client, job.id, "paused", seconds=30)

    client.fine_tuning.jobs.resume(job.id)

    assert wait_for(client, job.id).fine_tuned_model


def test_uploads_come_back_byte_for_byte(client: openai.OpenAI, verses: Path) -> None:
    file = client.files.create(file=verses, purpose="fine-tune")

    assert client.files.content(file.id).content == verses.read_bytes()
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
