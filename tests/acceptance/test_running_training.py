"""A training that still runs can already be listened to."""

from __future__ import annotations

import time

import openai
import pytest

from tests.stack import Stack, wait_for

LONG = {"max_steps": 100_000, "batch_size": 8, "sequence_length": 32}


def test_its_id_stands_for_its_newest_checkpoint(
    stack: Stack, client: openai.OpenAI, verses_file: str
) -> None:
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=verses_file,
        extra_body={"hyperparameters": LONG},
    )
    wait_for(client, job.id, "running")
    with pytest.raises(openai.NotFoundError, match="no checkpoint yet"):
        client.completions.create(model="ftjob-none", prompt="The ")
    steps = [_step_of(client, job.id), 0]
    deadline = time.monotonic() + 60
    while steps[1] <= steps[0]:
        assert time.monotonic() < deadline
        steps[1] = _step_of(client, job.id)

    best = client.completions.create(model=f"{job.id}:best", prompt="The ", max_tokens=4)
    assert ":ckpt-step-" in best.model

    written = stack.cli("generate", job.id, "The ", "--max-tokens", "20")

    assert written.returncode == 0, written.stderr
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    client.fine_tuning.jobs.cancel(job.id)


def _step_of(client: openai.OpenAI, job_id: str) -> int:
    """The step of the checkpoint that answers for a training, once there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = client.completions.create(model=job_id, prompt="The ", max_tokens=4, seed=1)
        except openai.NotFoundError:
            time.sleep(0.1)
            continue
        assert ":ckpt-step-" in answer.model
        return int(answer.model.rpartition("-")[2])
    raise AssertionError("no checkpoint within a minute")


def test_its_id_stands_for_its_model_in_the_end(client: openai.OpenAI, model: str) -> None:
    job_id = client.models.retrieve(model).job_id  # type: ignore[attr-defined]

    answer = client.completions.create(model=job_id, prompt="The ", max_tokens=4)

    assert answer.model == model
    best = client.completions.create(model=f"{job_id}:best", prompt="The ", max_tokens=4)
    assert best.model == model
