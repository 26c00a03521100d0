"""A worker's side of a training: what it makes of what its child tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import events_are_whole, run
from worker.backend import Backend
from worker.training.run import TrainingRun

CHILD = """
import json, sys
order = json.loads(sys.stdin.readline())
gone = order["folder"] + "/step-10.safetensors"
data = {"path": gone, "step": 10, "metrics": {}, "best": None}
event = {"type": "checkpoint", "message": "Checkpoint at step 10", "level": "info", "data": data}
print(json.dumps({"kind": "event", "event": event}), flush=True)
assert json.loads(sys.stdin.readline()) == {"acknowledge": True}
error = {"code": "training_diverged", "message": "It diverged.", "param": None}
print(json.dumps({"kind": "failed", "error": error, "transient": False}), flush=True)
"""


class OwnChild(TrainingRun):
    module = "own_child"


def test_a_checkpoint_that_cannot_be_stored_is_told_as_that_alone(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = {"model": "lstm-tiny", "preset": "lstm-tiny", "files": [], "seed": 1,
            "hyperparameters": {}}  # fmt: skip
    job = backend.jobs.submit("default", "training", spec)

    OwnChild(backend, run(backend.jobs), lambda: False).run()

    ended = backend.jobs.get("default", job.id)
    assert ended.error is not None and ended.error["code"] == "training_diverged"
    assert ended.checkpoint is None
    told = events_are_whole(backend.jobs, job.id)
    assert "checkpoint_failed" in told and "checkpoint" not in told
