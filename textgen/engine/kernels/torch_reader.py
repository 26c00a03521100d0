"""Prompts, read chunk by chunk with torch's own operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.engine.folded import FoldedModel, Gates, advance_cell
from textgen.engine.kernels.row_plan import RowPlan
from textgen.engine.prompt_reader import CHUNK, PROMPTS, ReadChunk, longest_first


class TorchPromptReader:
    """Buffers for ``PROMPTS`` chunks of ``CHUNK`` tokens of one model: T = CHUNK, P = PROMPTS."""

    def __init__(self, model: FoldedModel, plan: RowPlan) -> None:
        self._model = model
        self._plan = plan
        self._width = plan.capacity(PROMPTS)  # P with its padding
        rows = plan.capacity(CHUNK * self._width)
        steps = -(-rows // self._width)
        shape = (steps + 1, self._width, model.hidden)  # entry 0 is the state before the chunk
        self._hidden = [torch.zeros(shape, device=model.device) for _ in range(model.layers)]
        self._cell = [torch.zeros(shape, device=model.device) for _ in range(model.layers)]
        self._gates = torch.zeros(steps, self._width, 4 * model.hidden, device=model.device)
        self._tokens = torch.zeros(steps, self._width, dtype=torch.int64, device=model.device)

    @torch.inference_mode()
    def read(
        self,
        chunks: Sequence[npt.NDArray[np.int64]],
        states: Sequence[Tensor | None],
        *,
        sums: bool = False,
    ) -> list[ReadChunk]:
        """See PromptReader."""
        order = longest_first(chunks)
        self._load([chunks[index] for index in order], [states[index] for index in order])
        lengths = [len(chunks[index]) for index in order]
        for layer in range(self._model.layers):
            self._input_gates(layer, lengths[0])
            self._recur(layer, lengths)
        columns = {index: column for column, index in enumerate(order)}
        return [
            ReadChunk(
                self._state(column, lengths[column]),
                self._sum(column, lengths[column]) if sums else None,
            )
            for column in (columns[index] for index in range(len(order)))
        ]

    def _load(self, chunks: list[npt.NDArray[np.int64]], states: list[Tensor | None]) -> None:
        ids = np.zeros((len(chunks[0]), self._width), np.int64)
        for column, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
            ids[: len(chunk), column] = chunk
            for layer in range(self._model.layers):
                self._hidden[layer][0, column] = 0 if state is None else state[0, layer]
                self._cell[layer][0, column] = 0 if state is None else state[1, layer]
        self._tokens[: len(ids)] = torch.from_numpy(ids)

    def _input_gates(self, layer: int, steps: int) -> None:
        """The input part of the gates for all tokens, those of the padding too."""
        gates = self._gates.flatten(0, 1)
        tokens = self._tokens.flatten()
        for first, size in self._plan.blocks(steps * self._width):
            rows = slice(first, first + size)
            if layer == 0:
                self._model.first_gates(tokens[rows], gates[rows])
            else:
                below = [states[1:].flatten(0, 1)[rows] for states in self._hidden[:layer]]
                self._model.further_gates(layer, self._model.upwards(below), gates[rows])

    def _recur(self, layer: int, lengths: list[int]) -> None:
        """The hidden part, step by step; prompts that have ended fall out of the rows."""
        weights = self._model.hidden_weights[layer]
        hidden, cell = self._hidden[layer].unbind(), self._cell[layer].unbind()
        active = len(lengths)
        for step in range(lengths[0]):
            while lengths[active - 1] <= step:
                active -= 1
            for first, size in self._plan.blocks(active):
                rows = slice(first, first + size)
                gates = Gates(self._gates[step, rows])
                gates.all.addmm_(hidden[step][rows], weights)
                advance_cell(gates, cell[step][rows], cell[step + 1][rows], hidden[step + 1][rows])

    def _state(self, column: int, length: int) -> Tensor:
        """(2, L, H) of one prompt after its ``length`` tokens."""
        parts = [buffer[length, column] for buffer in (*self._hidden, *self._cell)]
        return torch.stack(parts).view(2, self._model.layers, self._model.hidden)

    def _sum(self, column: int, length: int) -> Tensor:
        return torch.stack([states[1 : length + 1, column].sum(0) for states in self._hidden])
