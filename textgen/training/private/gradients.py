"""The sum of the documents' gradients, each cut to a largest norm, without making any of them.

A gradient of a weight matrix is a sum over tokens of outer products: what came in, times the
derivative at what went out. So one backward pass to where the network can be looked into gives
the norm of every document's gradient and the weighted sum of all of them (Li et al. 2022, §4;
Bu et al. 2023, §3). What is kept of each place is in ``textgen.training.private.places``.

The LSTM runs in a loop over tokens here, since the fast kernels do not tell the derivatives at
the gates. Shapes: B documents, T tokens, V symbols, E embedding, H units.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from textgen.model import TextGenerator
from textgen.training.private.places import Affine, Lookup, Place, Scale, tied_products
from textgen.training.streams import IGNORED, Batch

Gradients = dict[str, Tensor]


def clipped_sum(model: TextGenerator, batch: Batch, largest: float) -> Gradients:
    """By the parameters' names: the documents' gradients, each of norm ``largest`` at most, added.

    The loss of a document is the mean over its targets that count. The gradients that the model
    itself holds stay as they are.
    """
    device = model.output.weight.device
    inputs, targets = batch.inputs.to(device), batch.targets.to(device)  # (B, T)
    logits, places = forward(model, inputs)
    loss = document_losses(logits, targets).sum()
    found = torch.autograd.grad(loss, [place.out for place in places])
    lookup, output = places[0], places[-1]
    with torch.no_grad():
        squares = [each.squares(slope) for each, slope in zip(places, found, strict=True)]
        squared = torch.stack(squares).sum(0)  # (B,)
        if model.tied and isinstance(lookup, Lookup) and isinstance(output, Affine):
            squared += tied_products(lookup, found[0], output, found[-1])
        weights = largest / squared.clamp(min=largest**2).sqrt()
        total: Gradients = {}
        for place, slope in zip(places, found, strict=True):
            for name, value in place.weighted_sums(slope, weights).items():
                total[name] = total[name] + value if name in total else value
    if model.tied:
        total["embedding.weight"] += total.pop("output.weight")
    return total


def document_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of each document (B,) over its targets that count; 0 where none does."""
    losses = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    counts = (targets != IGNORED).sum(1).clamp(min=1)
    return losses.view(targets.shape).sum(1) / counts


def forward(model: TextGenerator, inputs: Tensor) -> tuple[Tensor, list[Place]]:
    """Logits (B, T, V) as ``model`` gives them without dropout, and all places with weights.

    The first place is the embedding, the last one the output.
    """
    lookup = Lookup("embedding.weight", inputs, model.vocab_size, model.embedding(inputs))
    places: list[Place] = [lookup]
    states = lookup.out
    for layer in range(model.lstm.num_layers):
        below = states
        if layer > 0:
            states = _normed(model, states, layer - 1, places)
        states = _layer(model, states, layer, places)
        if model.residual and layer > 0:
            states = states + below
    states = _normed(model, states, model.lstm.num_layers - 1, places)
    logits = model.output(states)
    places.append(Affine({"output.weight": states}, ["output.bias"], logits))
    return logits, places


def _normed(model: TextGenerator, states: Tensor, layer: int, places: list[Place]) -> Tensor:
    if len(model.norms) == 0:
        return states
    weight, bias = f"norms.{layer}.weight", f"norms.{layer}.bias"
    normal = functional.layer_norm(states, (states.shape[-1],))
    out = normal * model.get_parameter(weight) + model.get_parameter(bias)
    places.append(Scale(weight, bias, normal, out))
    return out


def _layer(model: TextGenerator, inputs: Tensor, layer: int, places: list[Place]) -> Tensor:
    """States (B, T, H) of one layer, from a state of zeros."""
    names = [f"lstm.{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    weight_in, weight_back, *biases = map(model.get_parameter, names)
    gates = functional.linear(inputs, weight_in, biases[0] + biases[1])  # (B, T, 4H)
    hidden = cell = inputs.new_zeros(len(inputs), model.lstm.hidden_size)
    before, states = [], []
    back = weight_back.detach().t()  # its own gradient is made of the place, not by autograd
    for fresh in gates.unbind(1):
        before.append(hidden)
        enter, forget, new, leave = torch.addmm(fresh, hidden, back).chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    matrices = {names[0]: inputs, names[1]: torch.stack(before, 1)}
    places.append(Affine(matrices, names[2:], gates))
    return torch.stack(states, 1)
