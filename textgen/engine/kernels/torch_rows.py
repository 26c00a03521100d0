"""Rows that advance with torch's own operations, in blocks of sizes that agree to the bit."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from textgen.engine.folded import FoldedModel, Gates, advance_cell
from textgen.engine.kernels.row_plan import RowPlan
from textgen.engine.kernels.step_graphs import Recorder, StepGraphs
from textgen.engine.rows import Rows, RowState


class RowBlock:
    """The rows from ``first`` on, as many as ``gates`` (M, 4H) has, stepped together.

    Holds its views of the buffers: making them anew would take a tenth of a small step.
    """

    def __init__(self, model: FoldedModel, state: RowState, gates: Tensor, first: int) -> None:
        rows = slice(first, first + len(gates))
        self._model = model
        self._tokens = state.tokens[rows]
        self._gates = Gates(gates)
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


class TorchRows(Rows):
    """Up to ``slots`` rows; buffers hold them with the padding that the plan asks for.

    With a ``recorder`` the step of each padded number of rows is recorded when it first comes.
    """

    def __init__(
        self, model: FoldedModel, plan: RowPlan, slots: int, recorder: Recorder | None = None
    ) -> None:
        capacity = plan.capacity(slots)
        super().__init__(RowState(model.shape, capacity))
        self._model = model
        self._plan = plan
        self._gates = torch.empty(capacity, 4 * model.hidden, device=model.device)
        self._blocks: dict[tuple[int, int], RowBlock] = {}
        self.graphs = None if recorder is None else StepGraphs(self.state, recorder)

    def step(self, count: int) -> Tensor:
        """See Rows."""
        blocks = [self._block(first, size) for first, size in self._plan.blocks(count)]
        if self.graphs is None:
            _run(blocks)
        else:
            self.graphs.step(self._plan.capacity(count), partial(_run, blocks))
        return self.state.logits[:count]

    def _block(self, first: int, size: int) -> RowBlock:
        key = (first, size)
        if key not in self._blocks:
            gates = self._gates[first : first + size]
            self._blocks[key] = RowBlock(self._model, self.state, gates, first)
        return self._blocks[key]


def _run(blocks: list[RowBlock]) -> None:
    for block in blocks:
        block.step()
