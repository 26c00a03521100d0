"""What a training is driven by: one optimizer step after another, on whatever it learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from textgen.model import TextGenerator


class Steps(Protocol):
    """A model in training; see ``Trainer`` and ``PrivateTrainer``."""

    @property
    def model(self) -> TextGenerator:
        """What is trained."""

    @property
    def step(self) -> int:
        """Steps done."""

    @property
    def losses(self) -> Mapping[str, float]:
        """What a checkpoint keeps of the training loss; empty where it may not be known."""

    def advance(self, *, measure: bool = False) -> None:
        """One step; ``measure`` where ``metrics`` will be asked for after it."""

    def progress(self) -> dict[str, float]:
        """What may be told about once a second."""

    def metrics(self) -> dict[str, float | None]:
        """What may be told of the last measured step, and is kept with the model."""

    def summary(self) -> str:
        """The most important of it, for people."""

    def state(self) -> dict[str, Tensor]:
        """The tensors, beside the model's, that the next step depends on."""

    def restore(
        self, step: int, losses: Mapping[str, float], tensors: Mapping[str, Tensor]
    ) -> None:
        """Go on from ``state`` after ``step`` steps; InvalidCheckpoint where it does not fit."""
