"""What a training child is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from textgen.options import Options
from worker.children.process import Order
from worker.children.sources import SourceFile


class ReplayOrder(Options):
    """The files of the model to continue from, and the options that they were read with."""

    sources: tuple[SourceFile, ...]
    validation_sources: tuple[SourceFile, ...] = ()
    hyperparameters: dict[str, Any] = Field(default_factory=dict)


class TrainingOrder(Order):
    """All that a child needs to train: files, options, and where to go on."""

    sources: tuple[SourceFile, ...]
    validation_sources: tuple[SourceFile, ...] = ()
    test_sources: tuple[SourceFile, ...] = ()
    preset: str
    hyperparameters: dict[str, Any]
    base: Path | None = None
    replay: ReplayOrder | None = None
    embeddings: SourceFile | None = None
    plan: dict[str, Any] | None = None
    resume: Path | None = None
    checkpoint_seconds: tuple[float, float]
