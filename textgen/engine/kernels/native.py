"""The kernel in C++: a whole step, or a chunk of prompts, in one call.

Its sums have one order whatever the number of rows, of threads, and the width of the vectors, so
no row is padded and the bits are those of every machine that it runs on.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from textgen.engine.folded import LANES, FoldedModel
from textgen.engine.kernels.kernel import Weights
from textgen.engine.kernels.library import CDraws, CLayer, CModel, CScratch, Library, pointer
from textgen.engine.kernels.packing import PackedMatrix, pack_columns, pack_gates
from textgen.engine.plain_draws import PlainDraws
from textgen.engine.prompt_reader import CHUNK, PROMPTS, ReadChunk, longest_first
from textgen.engine.rows import Rows, RowState

MOST_STEPS = 64  # of a burst
ARITHMETIC = 2  # to be raised with every change of a bit in what the C++ code gives


class NativeKernel:
    """Kernel of the C++ library; a copy of the weights, float32 or as bytes."""

    def __init__(
        self, model: FoldedModel, library: Library, threads: int, weights: Weights = "float32"
    ) -> None:
        self._model = PackedModel(model, library.lanes, weights)
        self._weights = weights
        self._library = library
        self._pool = library.pool(threads)

    @property
    def name(self) -> str:
        """Neither threads nor instruction set: the bits are the same."""
        return f"native {ARITHMETIC} {self._weights}"

    def rows(self, slots: int) -> NativeRows:
        """See Kernel."""
        return NativeRows(self._model, self._library, self._pool, slots)

    def reader(self) -> NativePromptReader:
        """See Kernel."""
        return NativePromptReader(self._model, self._library, self._pool)


class PackedModel:
    """The weights of a FoldedModel as the library wants them, and the structure that names them."""

    def __init__(self, model: FoldedModel, lanes: int, kind: Weights) -> None:
        self.shape = model.shape
        inputs = [
            None if weights is None else pack_gates(_padded_inputs(weights), lanes, kind)
            for weights in model.input_weights
        ]
        hidden = [pack_gates(weights, lanes, kind) for weights in model.hidden_weights]
        head = pack_columns(model.head_weight, lanes, kind)
        norms = [
            tuple(functional.pad(part, (0, model.hidden - len(part))) for part in norm)
            for norm in model.norms
        ]
        embedding = None
        if model.embedding is not None:
            embedding = _padded_inputs(model.embedding.t()).t().contiguous()
        nothing = PackedMatrix(torch.empty(0))
        layers = (CLayer * model.layers)()
        for index, layer in enumerate(layers):
            layer.input = (inputs[index] or nothing).as_c()
            layer.hidden = hidden[index].as_c()
            layer.bias = pointer(model.biases[index])
            if norms:
                layer.norm_scale, layer.norm_shift = map(pointer, norms[index])
        self._kept = (inputs, hidden, head, norms, embedding, model.table, model.biases,
                      model.head_bias, layers)  # fmt: skip
        self.widest = max(matrix.inputs for matrix in (*inputs, *hidden, head) if matrix)
        self._model = CModel(
            model.layers, model.hidden, model.columns, model.width, model.residual,
            pointer(model.table), pointer(embedding), layers, head.as_c(),
            pointer(model.head_bias),
        )  # fmt: skip
        self.reference = byref(self._model)


class _Scratch:
    """Memory of the library for ``capacity`` rows; of gates for ``gates`` rows."""

    def __init__(self, packed: PackedModel, capacity: int, gates: int) -> None:
        shape = packed.shape
        self._hidden = torch.zeros(shape.layers, capacity, shape.hidden)
        self._inputs = torch.zeros(capacity, shape.hidden)
        self._gates = torch.zeros(gates, 4 * shape.hidden)
        self._bytes = torch.zeros(2, capacity, packed.widest, dtype=torch.uint8)
        self._scales = torch.zeros(2, capacity)
        parts = (self._hidden, self._inputs, self._gates, self._bytes, self._scales)
        self._scratch = CScratch(*map(pointer, parts), capacity, packed.widest)
        self.reference = byref(self._scratch)


class NativeRows(Rows):
    """Up to ``slots`` rows, none of them padded."""

    def __init__(self, packed: PackedModel, library: Library, pool: int, slots: int) -> None:
        super().__init__(RowState(packed.shape, slots))
        self._packed = packed
        self._scratch = _Scratch(packed, slots, 0)
        state = self.state
        self._step, self._burst = library.step, library.burst
        self._drawn = np.zeros(MOST_STEPS * slots, np.int64)
        self._arguments = (
            pool, packed.reference, self._scratch.reference, pointer(state.tokens),
            pointer(state.hidden), pointer(state.cell), slots, pointer(state.logits),
        )  # fmt: skip
        self._slots = slots

    def step(self, count: int) -> Tensor:
        """See Rows."""
        self._check(count)
        self._step(*self._arguments, count)
        return self.state.logits[:count]

    def draw_by(self, draws: PlainDraws) -> bool:
        """See Rows."""
        chances = torch.empty_like(self.state.logits)
        arrays = (draws.rows, draws.heat, draws.keys, draws.positions, draws.drawable, draws.stops)
        structure = CDraws(*(each.ctypes.data for each in arrays), pointer(chances))
        self._draws = (structure, arrays, chances)  # which must stay
        pool, packed, scratch, *rest = self._arguments
        self._burst_arguments = (
            pool, packed, scratch, byref(structure), *rest, self._drawn.ctypes.data
        )  # fmt: skip
        return True

    def burst(self, count: int, steps: int, seconds: float) -> npt.NDArray[np.int64]:
        """See Rows; at most MOST_STEPS steps."""
        self._check(count)
        done = self._burst(*self._burst_arguments, count, min(steps, MOST_STEPS), seconds)
        return self._drawn[: done * count].reshape(done, count)

    def _check(self, count: int) -> None:
        if not 0 <= count <= self._slots:
            raise ValueError(f"{count} rows of {self._slots}")


class NativePromptReader:
    """Prompts side by side, packed without gaps: those that have ended take no room."""

    def __init__(self, packed: PackedModel, library: Library, pool: int) -> None:
        shape = packed.shape
        rows = PROMPTS * CHUNK
        self._packed = packed
        self._library = library
        self._pool = pool
        self._scratch = _Scratch(packed, rows, rows)
        self._hidden = torch.zeros(shape.layers, PROMPTS + rows, shape.hidden)
        self._cell = torch.zeros(shape.layers, PROMPTS, shape.hidden)

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
        lengths = np.array([len(chunks[index]) for index in order])
        taking_part = np.arange(lengths[0])[:, None] < lengths  # (T, P)
        active = taking_part.sum(1)  # (T,)
        ids = np.zeros(taking_part.shape, np.int64)
        for column, index in enumerate(order):
            ids[: lengths[column], column] = chunks[index]
            state = states[index]
            self._hidden[:, column] = 0 if state is None else state[0]
            self._cell[:, column] = 0 if state is None else state[1]
        tokens = ids[taking_part]  # (S,), step after step
        self._library.read(
            self._pool, self._packed.reference, self._scratch.reference, tokens.ctypes.data,
            active.ctypes.data, len(active), pointer(self._hidden), PROMPTS + CHUNK * PROMPTS,
            pointer(self._cell), PROMPTS,
        )  # fmt: skip
        begins = len(order) + active.cumsum() - active  # where each step's rows begin, (T,)
        totals = self._totals(begins.tolist(), active.tolist()) if sums else None
        columns = {index: column for column, index in enumerate(order)}
        return [
            self._result(column, int(begins[lengths[column] - 1]) + column, totals)
            for column in (columns[index] for index in range(len(order)))
        ]

    def _totals(self, begins: Sequence[int], active: Sequence[int]) -> Tensor:
        """The sums (L, P, H) of all states, those of a prompt in the order of its tokens."""
        totals = torch.zeros_like(self._cell)
        for begin, rows in zip(begins, active, strict=True):
            totals[:, :rows] += self._hidden[:, begin : begin + rows]
        return totals

    def _result(self, column: int, last: int, totals: Tensor | None) -> ReadChunk:
        """What was read of one prompt, whose last hidden state lies at ``last``."""
        state = torch.stack([self._hidden[:, last], self._cell[:, column]])
        return ReadChunk(state, None if totals is None else totals[:, column])


def _padded_inputs(weights: Tensor) -> Tensor:
    """(K, X) with zeros behind, so that K is a multiple of LANES."""
    return functional.pad(weights, (0, 0, 0, -len(weights) % LANES))
