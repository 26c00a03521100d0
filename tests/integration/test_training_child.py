"""The process that trains: what an order says reaches the library, and its events come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worker.children.process import ChildProcess
from worker.children.sources import SourceFile
from worker.training.order import ReplayOrder, TrainingOrder

OLD = "".join(f"the cat {i} sat on a mat and the dog {i * 7} ran to it.\n" for i in range(60))
NEW = "Ein Hund kam in die Küche und stahl dem Koch ein Ei.\n" * 40


def file(folder: Path, name: str, text: str) -> SourceFile:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return SourceFile(path=path, name=name)


def train(order: TrainingOrder) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The events of a training, and its last word."""
    events = []
    with ChildProcess(order, "worker.training.child") as child:
        while True:
            message = child.receive(120)
            assert message is not None
            if message["kind"] != "event":
                return events, message
            events.append(message["event"])
            if message["event"]["type"] in ("plan", "checkpoint"):
                child.send({"acknowledge": True})


@pytest.mark.parametrize("fraction", [0.25, None])
def test_an_order_to_replay_is_followed(tmp_path: Path, fraction: float | None) -> None:
    old, new = file(tmp_path, "old.txt", OLD), file(tmp_path, "new.txt", NEW)
    options = {"max_steps": 20, "batch_size": 4, "sequence_length": 16}
    common: dict[str, Any] = {"preset": "lstm-tiny", "device": "cpu", "threads": 1,
                              "checkpoint_seconds": (10, 10)}  # fmt: skip
    _, first = train(
        TrainingOrder(sources=(old,), hyperparameters=options, folder=tmp_path / "first", **common)
    )
    kept = {} if fraction is None else {"replay_fraction": fraction}
    read = {"validation_fraction": 0.2, "format": "lines"}

    events, last = train(
        TrainingOrder(
            sources=(new,),
            hyperparameters={**options, **kept},
            folder=tmp_path / "second",
            base=first["bundle"],
            replay=ReplayOrder(sources=(old,), hyperparameters=read),
            **common,
        )
    )

    assert last["kind"] == "finished", last
    (replay,) = (event["data"] for event in events if event["type"] == "replay")
    assert replay["documents"]  # read by lines, as the options of that time say
    (plan,) = (event["data"]["plan"] for event in events if event["type"] == "plan")
    assert plan["replay_fraction"] == (0.2 if fraction is None else fraction)
    metrics = [event["data"] for event in events if event["type"] == "metrics"]
    assert metrics[-1]["valid_replay_loss"] > 0
