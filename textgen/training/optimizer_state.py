"""What an optimizer keeps of each parameter, as named tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from textgen.errors import InvalidCheckpoint
from textgen.training.optimizer import MOMENTS


def learning(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that change, with their names."""
    return ((name, each) for name, each in model.named_parameters() if each.requires_grad)


def moments(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """What the optimizer keeps of each parameter; nothing before its first step."""
    return {
        f"optimizer.{name}.{key}": value
        for name, parameter in learning(model)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def moment_shapes(model: nn.Module) -> dict[str, Sequence[int]]:
    """Of what ``moments`` tells after any step."""
    shapes: dict[str, Sequence[int]] = {}
    for name, parameter in learning(model):
        for key, shape in zip(MOMENTS, (parameter.shape, parameter.shape, ()), strict=True):
            shapes[f"optimizer.{name}.{key}"] = shape
    return shapes


def restore_moments(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """As ``moments`` told them; InvalidCheckpoint where they are not of this model."""
    shapes = moment_shapes(model)
    for name, parameter in learning(model):
        keys = {key: f"optimizer.{name}.{key}" for key in MOMENTS}
        optimizer.state[parameter] = {
            key: fitting(tensors.get(place), shapes[place], place, parameter.device)
            for key, place in keys.items()
        }


def fitting(tensor: Tensor | None, shape: Sequence[int], name: str, device: torch.device) -> Tensor:
    """The tensor on the device; InvalidCheckpoint where it is not there or of another shape."""
    if tensor is None or tensor.shape != torch.Size(shape):
        found = None if tensor is None else tuple(tensor.shape)
        raise InvalidCheckpoint(
            f"The checkpoint belongs to another model: the state of {name!r} is {found}, "
            f"not {tuple(shape)}."
        )
    return tensor.to(device)
