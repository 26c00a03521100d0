"""The state of the requests that are being generated, a row each, and their common step."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.engine.folded import Shape
from textgen.engine.plain_draws import PlainDraws


class RowState:
    """Buffers for ``capacity`` rows: R = capacity.

    hidden, cell: (L, R, H) · tokens: (R,) the next input · logits: (R, columns) after a step.
    """

    def __init__(self, shape: Shape, capacity: int) -> None:
        states = (shape.layers, capacity, shape.hidden)
        self.hidden = torch.zeros(states, device=shape.device)
        self.cell = torch.zeros(states, device=shape.device)
        self.logits = torch.empty(capacity, shape.columns, device=shape.device)
        self.tokens = torch.zeros(capacity, dtype=torch.int64, device=shape.device)


class Rows(ABC):
    """Rows of one model, those in use always the first ones; a kernel says how they advance."""

    def __init__(self, state: RowState) -> None:
        self.state = state

    def draw_by(self, draws: PlainDraws) -> bool:  # noqa: ARG002 - for those that can
        """Whether `burst` is there and draws the rows of ``draws``, whose arrays it reads."""
        return False

    def burst(self, count: int, steps: int, seconds: float) -> npt.NDArray[np.int64]:
        """Up to ``steps`` steps that each draw a token of the first ``count`` rows and feed it.

        It ends early after ``seconds``, a token of ``stops``, or where a row is not drawn here,
        for which nothing stands in the answer. The tokens (steps, count), NOTHING_LEFT where none
        may come; a view until the next call. The last step's logits are in the state.
        """
        raise NotImplementedError

    @abstractmethod
    def step(self, count: int) -> Tensor:
        """Advance the first ``count`` rows by their tokens; logits (count, columns), a view.

        Columns beyond the vocabulary, and banned tokens, are -inf.
        """

    def set(self, row: int, state: Tensor | None, token: int) -> None:
        """Fill a row: ``state`` (2, L, H) is hidden and cell, None for zeros."""
        if state is None:
            self.state.hidden[:, row] = 0
            self.state.cell[:, row] = 0
        else:
            self.state.hidden[:, row], self.state.cell[:, row] = state
        self.state.tokens[row] = token

    def get(self, row: int) -> Tensor:
        """A copy of a row's state (2, L, H), as it was before its token."""
        return torch.stack([self.state.hidden[:, row], self.state.cell[:, row]])

    def move(self, source: int, target: int) -> None:
        """Copy a row onto another."""
        for buffer in (self.state.hidden, self.state.cell):
            buffer[:, target] = buffer[:, source]
        self.state.tokens[target] = self.state.tokens[source]
