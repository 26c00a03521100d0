"""The training child: `python -m worker.training.child`, started by a worker for one job."""

from __future__ import annotations

import sys
from typing import Any

from textgen.options import Hyperparameters
from worker.children.parent import Parent, Stopped, serve
from worker.children.sources import ReadingOptions
from worker.training.order import TrainingOrder


def train(order: TrainingOrder, parent: Parent) -> dict[str, Any]:
    """Run the training; returns where the model lies."""
    from textgen.plan import Plan  # late, so that a broken order fails before torch loads
    from textgen.training.train import train_files

    hyperparameters = Hyperparameters.parse(order.hyperparameters, within="hyperparameters")
    reading = ReadingOptions.of_training(hyperparameters)
    bundle = train_files(
        [file.source(reading) for file in order.sources],
        validation_sources=[file.source(reading) for file in order.validation_sources],
        preset=order.preset,
        hyperparameters=hyperparameters,
        folder=order.folder,
        base=order.base,
        plan=None if order.plan is None else Plan.parse(order.plan),
        resume=order.resume,
        device=order.device,
        threads=order.threads,
        on_event=parent.report,
        should_stop=parent.should_stop,
        checkpoint_seconds=order.checkpoint_seconds,
    )
    if bundle is None:
        raise Stopped
    return {"bundle": str(bundle)}


if __name__ == "__main__":
    sys.exit(serve(TrainingOrder, train))
