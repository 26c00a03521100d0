"""A whole stack on a CUDA GPU: a training is killed, goes on, and its model answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.acceptance.conftest import VERSES
from tests.stack import Stack, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]


def test_a_killed_training_goes_on_from_its_checkpoint_and_its_model_answers(
    tmp_path: Path,
) -> None:
    with Stack(tmp_path / "home", TEXTGEN_DEVICE="cuda") as stack, stack.client() as client:
        text = ("verses.txt", (VERSES * 4).encode())
        values = {"max_steps": 2000, "batch_size": 8, "sequence_length": 32, "precision": "auto"}
        job = client.fine_tuning.jobs.create(
            model="lstm-tiny",
            training_file=client.files.create(file=text, purpose="fine-tune").id,
            extra_body={"hyperparameters": values},
        )
        deadline = time.monotonic() + 180
        while not client.fine_tuning.jobs.checkpoints.list(job.id).data:
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(0.05)
        (child,) = stack.processes("worker.training.child")
        child.kill()
        model = wait_for(client, job.id, seconds=300).fine_tuned_model
        told = [each.message for each in client.fine_tuning.jobs.list_events(job.id, limit=100)]
        plan = client.get(f"/jobs/{job.id}", cast_to=dict[str, Any])["plan"]
        body = {"model": model, "prompt": "The ", "max_tokens": 50, "seed": 1}
        alone = client.completions.create(**body).choices[0].text
        many = client.completions.create(**{**body, "prompt": ["The "] + ["A fool"] * 40})
    assert any("signal SIGKILL" in message for message in told)
    assert plan["device"].startswith("cuda")
    assert alone == many.choices[0].text
