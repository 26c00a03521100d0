"""The state of the requests that are being generated, a row each, and their common step."""

from __future__ import annotations

import torch
from torch import Tensor

from textgen.engine.folded import FoldedModel, Gates, advance_cell
from textgen.engine.row_plan import RowPlan


class RowState:
    """Buffers for ``capacity`` rows: R = capacity.

    hidden, cell: (L, R, H) · tokens: (R,) the next input · logits: (R, columns) after a step.
    """

    def __init__(self, model: FoldedModel, capacity: int) -> None:
        shape = (model.layers, capacity, model.hidden)
        self.hidden = torch.zeros(shape, device=model.device)
        self.cell = torch.zeros(shape, device=model.device)
        self.gates = torch.empty(capacity, 4 * model.hidden, device=model.device)
        self.logits = torch.empty(capacity, model.columns, device=model.device)
        self.tokens = torch.zeros(capacity, dtype=torch.int64, device=model.device)


class RowBlock:
    """The rows ``first`` … ``first + size - 1``, stepped together.

    Holds its views of the buffers: making them anew would take a tenth of a small step.
    """

    def __init__(self, model: FoldedModel, state: RowState, first: int, size: int) -> None:
        rows = slice(first, first + size)
        self._model = model
        self._tokens = state.tokens[rows]
        self._gates = Gates(state.gates[rows])
        self._logits = state.logits[rows]
        self._hidden = list(state.hidden[:, rows])
        self._cell = list(state.cell[:, rows])

    def step(self) -> None:
        """Advance every row by its token; the logits of what follows are in the state."""
        model, gates = self._model, self._gates
        for layer, (hidden, cell) in enumerate(zip(self._hidden, self._cell, strict=True)):
            if layer == 0:
                model.first_gates(self._tokens, gates.all)
            else:
                model.further_gates(layer, model.upwards(self._hidden[:layer]), gates.all)
            gates.all.addmm_(hidden, model.hidden_weights[layer])
            advance_cell(gates, cell, cell, hidden)
        model.logits(model.upwards(self._hidden), self._logits)


class Rows:
    """Up to ``slots`` rows, those in use always the first ones."""

    def __init__(self, model: FoldedModel, plan: RowPlan, slots: int) -> None:
        self._model = model
        self._plan = plan
        self.state = RowState(model, plan.capacity(slots))
        self._blocks: dict[tuple[int, int], RowBlock] = {}

    def step(self, count: int) -> Tensor:
        """Advance the first ``count`` rows by their tokens; logits (count, columns), a view."""
        for first, size in self._plan.blocks(count):
            self._block(first, size).step()
        return self.state.logits[:count]

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

    def _block(self, first: int, size: int) -> RowBlock:
        key = (first, size)
        if key not in self._blocks:
            self._blocks[key] = RowBlock(self._model, self.state, first, size)
        return self._blocks[key]
