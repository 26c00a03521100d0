"""The training child: `python -m worker.training.child`, started by a worker for one job."""

from __future__ import annotations

import sys
from typing import Any

from textgen.corpus.sources import Source
from textgen.corpus.word_vectors import WordVectors
from textgen.options import Hyperparameters
from textgen.plan import Plan
from worker.children.parent import Parent, Stopped, serve
from worker.children.sources import SourceFile
from worker.training.order import TrainingOrder


def train(order: TrainingOrder, parent: Parent) -> dict[str, Any]:
    """Run the training; returns where the model lies."""
    # Late, so that a broken order fails before torch loads.
    from textgen.training.replay import OldText
    from textgen.training.train import train_files

    hyperparameters = Hyperparameters.parse(order.hyperparameters, within="hyperparameters")
    embeddings = order.embeddings
    replay = order.replay
    old = None
    if replay is not None:
        before = Hyperparameters.parse(replay.hyperparameters)
        old = OldText(
            [_source(file, before) for file in replay.sources],
            [_source(file, before) for file in replay.validation_sources],
            before,
        )
    bundle = train_files(
        [_source(file, hyperparameters) for file in order.sources],
        validation_sources=[_source(file, hyperparameters) for file in order.validation_sources],
        test_sources=[_source(file, hyperparameters) for file in order.test_sources],
        preset=order.preset,
        hyperparameters=hyperparameters,
        folder=order.folder,
        base=order.base,
        replay=old,
        embeddings=None if embeddings is None else WordVectors(embeddings.path, embeddings.name),
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


def _source(file: SourceFile, options: Hyperparameters) -> Source:
    return Source(file.path, name=file.name).read_as(options)


if __name__ == "__main__":
    sys.exit(serve(TrainingOrder, train))
