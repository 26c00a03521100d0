"""The weights with the lowest validation loss so far."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from textgen.bundles.header import TrainingState
from textgen.model import TextGenerator


class BestWeights:
    """Copies of a model's weights, made whenever its validation loss is the lowest yet.

    Where nothing is ever validated, the model's own weights are the best.
    """

    def __init__(self, model: TextGenerator) -> None:
        self._model = model
        self._copy: dict[str, Tensor] | None = None
        self.step: int | None = None
        self.loss: float | None = None  # nats per token
        self.figures: dict[str, float | None] = {}  # all that was measured of them
        self.validations_without_gain = 0

    def compare(self, loss: float, step: int, figures: Mapping[str, float | None]) -> None:
        """Take in a validation of the model as it is after ``step``, and all its ``figures``."""
        if self.loss is not None and not loss < self.loss:
            self.validations_without_gain += 1
            return
        self.loss, self.step, self.validations_without_gain = loss, step, 0
        self.figures = dict(figures)
        self._take()

    def weights(self) -> Mapping[str, Tensor]:
        """The state dict of the best weights."""
        return self._model.state_dict() if self._copy is None else self._copy

    def other_than(self, step: int) -> Mapping[str, Tensor] | None:
        """The best weights where they are not those of ``step``: what a checkpoint must add."""
        return None if self.step in (None, step) else self._copy

    def restore(self, state: TrainingState, weights: Mapping[str, Tensor] | None) -> None:
        """As they were at a checkpoint; ``weights`` where they were not the model's own."""
        self.step, self.loss = state.best_step, state.best_valid_loss
        self.figures = dict(state.best_figures)
        self.validations_without_gain = state.validations_without_gain
        if weights is not None:
            self._copy = {name: value.clone() for name, value in weights.items()}
        elif self.step is not None:
            self._take()

    def _take(self) -> None:
        weights = self._model.state_dict()
        self._copy = {name: value.detach().clone() for name, value in weights.items()}
