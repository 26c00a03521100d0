"""What a training child is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worker.children.process import Order
from worker.children.sources import SourceFile


class TrainingOrder(Order):
    """All that a child needs to train: files, options, and where to go on."""

    sources: tuple[SourceFile, ...]
    validation_sources: tuple[SourceFile, ...] = ()
    preset: str
    hyperparameters: dict[str, Any]
    base: Path | None = None
    plan: dict[str, Any] | None = None
    resume: Path | None = None
    checkpoint_seconds: tuple[float, float]
