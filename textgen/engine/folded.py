"""A model's weights laid out for generation, and the cell's arithmetic on them.

The embedding, the first layer's input weights and its biases become one table with a row of gate
inputs for each token, so the first layer costs one matrix product and the input half of its work
is a look-up. Input and hidden part of the further layers are two products, not one on [x, h]:
measured as fast or faster, and a chunk of T tokens, whose input parts are known beforehand, then
adds the same numbers in the same order as T single steps.

Widths are padded with zeros to whole vectors of the machine: a padded unit stays 0, a padded
token has the logit -inf. Otherwise the last few columns of a matrix would go through other
instructions than the rest, and which ones depends on the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from textgen.errors import InvalidBundle
from textgen.model import TextGenerator

LANES = 32  # float32 numbers that the widest pointwise loops take at once
_LARGEST_TABLE = 128 * 2**20  # bytes; a larger vocabulary keeps its embedding


@dataclass(frozen=True, slots=True)
class Shape:
    """What buffers for a model need to know, and where they are to lie."""

    layers: int
    hidden: int  # padded
    columns: int  # of the logits
    device: torch.device


class FoldedModel:
    """What generation needs of a TextGenerator; a copy, so later training does not show.

    Shapes: V tokens, padded to ``columns``; H hidden units, padded to ``hidden``; L layers.
    ``banned`` tokens get the logit -inf, so they are never drawn.
    InvalidBundle where a weight is not a finite number.
    """

    def __init__(self, model: TextGenerator, banned: Sequence[int] = ()) -> None:
        lstm = model.lstm
        self.vocab_size = model.embedding.num_embeddings
        self.layers = lstm.num_layers
        self.width = lstm.hidden_size
        self.hidden = _padded(self.width)
        self.columns = _padded(self.vocab_size)
        self.device = model.embedding.weight.device
        with torch.no_grad():
            _check_finite(model)
            self.hidden_weights = [
                self._weights(getattr(lstm, f"weight_hh_l{layer}"), self.hidden)
                for layer in range(self.layers)
            ]  # each (H, 4H)
            self._fold_inputs(model)
            self._fold_head(model, banned)
            self.residual = model.residual
            copies = {name: value.clone() for name, value in model.norms.state_dict().items()}
            self.norms = [
                (copies[f"{layer}.weight"], copies[f"{layer}.bias"])
                for layer in range(len(model.norms))
            ]

    @property
    def shape(self) -> Shape:
        """Of the buffers for this model."""
        return Shape(self.layers, self.hidden, self.columns, self.device)

    def _fold_inputs(self, model: TextGenerator) -> None:
        """Make ``table`` (V, 4H) or ``embedding`` (V, E), and what the further layers add."""
        lstm = model.lstm
        self.input_weights: list[Tensor | None] = []  # (H, 4H) each; None: the table does it
        self.biases: list[Tensor] = []  # (4H,) each
        for layer in range(self.layers):
            weight = getattr(lstm, f"weight_ih_l{layer}")
            bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
            width = weight.shape[1] if layer == 0 else self.hidden
            self.input_weights.append(self._weights(weight, width))
            self.biases.append(self._weights(bias[:, None], 1)[0].contiguous())
        embedding = model.embedding.weight.detach().clone()
        self.embedding: Tensor | None = embedding
        self.table: Tensor | None = None
        first = self.input_weights[0]
        if first is not None and embedding.shape[0] * first.shape[1] * 4 <= _LARGEST_TABLE:
            self.table = torch.addmm(self.biases[0], embedding, first)
            self.embedding = self.input_weights[0] = None

    def _fold_head(self, model: TextGenerator, banned: Sequence[int]) -> None:
        weight = model.output.weight  # (V, H)
        self.head_weight = weight.new_zeros(self.hidden, self.columns)
        self.head_weight[: weight.shape[1], : self.vocab_size] = weight.t()
        self.head_bias = weight.new_full((self.columns,), float("-inf"))
        self.head_bias[: self.vocab_size] = model.output.bias
        self.head_bias[list(banned)] = float("-inf")

    def _weights(self, weight: Tensor, inputs: int) -> Tensor:
        """(4H, X) in torch's gate order i f g o → (inputs, 4H) in the order i f o g, padded."""
        size = weight.shape[0] // 4
        gates = weight.new_zeros(4, self.hidden, inputs)
        gates[:, :size, : weight.shape[1]] = weight.view(4, size, -1)[[0, 1, 3, 2]]
        return gates.view(4 * self.hidden, inputs).t().contiguous()

    def upwards(self, hidden: Sequence[Tensor]) -> Tensor:
        """What goes up from the layers below, whose states (M, H) are ``hidden``, lowest first.

        Mostly the last one's state; the sum of all where the model has residual links, normalised
        where it does that.
        """
        states = hidden[-1]
        if self.residual:
            states = hidden[0]
            for further in hidden[1:]:
                states = states + further
        if self.norms:
            scale, shift = self.norms[len(hidden) - 1]
            width = len(scale)
            normed = functional.layer_norm(states[..., :width], (width,), scale, shift)
            states = functional.pad(normed, (0, self.hidden - width))
        return states

    def first_gates(self, tokens: Tensor, out: Tensor) -> None:
        """The first layer's gate inputs for ``tokens`` (M,) into ``out`` (M, 4H)."""
        if self.table is not None:
            torch.index_select(self.table, 0, tokens, out=out)
            return
        assert self.embedding is not None  # noqa: S101 - one of the two is there
        weights = self.input_weights[0]
        assert weights is not None  # noqa: S101
        torch.addmm(self.biases[0], self.embedding.index_select(0, tokens), weights, out=out)

    def further_gates(self, layer: int, inputs: Tensor, out: Tensor) -> None:
        """A further layer's gate inputs for ``inputs`` (M, H) into ``out`` (M, 4H)."""
        weights = self.input_weights[layer]
        assert weights is not None  # noqa: S101 - only the first layer has a table
        torch.addmm(self.biases[layer], inputs, weights, out=out)

    def logits(self, hidden: Tensor, out: Tensor) -> None:
        """The head: (M, H) into ``out`` (M, columns)."""
        torch.addmm(self.head_bias, hidden, self.head_weight, out=out)


class Gates:
    """Views of a buffer (M, 4H) of gate inputs, by their meaning."""

    __slots__ = ("all", "candidate", "forget", "input", "output", "sigmoid")

    def __init__(self, buffer: Tensor) -> None:
        size = buffer.shape[1] // 4
        self.all = buffer
        self.sigmoid = buffer[:, : 3 * size]
        self.input, self.forget, self.output, self.candidate = torch.split(buffer, size, dim=1)


def advance_cell(gates: Gates, cell: Tensor, new_cell: Tensor, new_hidden: Tensor) -> None:
    """One LSTM step from the summed gate inputs, which are overwritten.

    c' = f·c + i·g, h' = o·tanh(c'); all (M, H). ``new_cell`` may be ``cell`` itself.
    """
    gates.sigmoid.sigmoid_()
    gates.candidate.tanh_()
    torch.mul(cell, gates.forget, out=new_cell)
    new_cell.addcmul_(gates.input, gates.candidate)
    torch.tanh(new_cell, out=new_hidden)
    new_hidden.mul_(gates.output)


def _padded(width: int) -> int:
    return -(-width // LANES) * LANES


def _check_finite(model: TextGenerator) -> None:
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise InvalidBundle(
                f"The weight {name!r} holds a value that is not a finite number; this model "
                "cannot generate. Train it again, with a smaller learning rate."
            )
