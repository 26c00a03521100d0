"""A training that can go on: a bundle with everything else that the next step depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from textgen.bundles.bundle import from_arrays, model_from, to_arrays
from textgen.bundles.header import MODEL_PREFIX, BundleHeader, TrainingState, header_of
from textgen.bundles.tensor_file import open_tensor_file, write_tensor_file
from textgen.errors import InvalidBundle, InvalidCheckpoint
from textgen.model import TextGenerator

_PREFIX = "training."
_BEST = "best."


@dataclass(frozen=True)
class Checkpoint:
    """What was saved; ``best`` is the state dict of the best weights, where others are newer."""

    header: BundleHeader
    training: TrainingState
    model: TextGenerator
    tensors: Mapping[str, Tensor]
    best: Mapping[str, Tensor] | None


def save_checkpoint(
    path: Path,
    header: BundleHeader,
    weights: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    best: Mapping[str, Tensor] | None,
) -> None:
    """Write a checkpoint: whole and safe on disk when this returns, or not at all."""
    extra = dict(tensors) | {_BEST + name: value for name, value in (best or {}).items()}
    arrays = to_arrays(weights, MODEL_PREFIX) | to_arrays(extra, _PREFIX)
    write_tensor_file(path, header.model_dump_json(), arrays)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, on the CPU; InvalidCheckpoint on any damage."""
    try:
        file = open_tensor_file(path)
        header = header_of(file)
        if header.training is None:
            raise InvalidCheckpoint(
                f"{path.name} is a finished model, not a checkpoint; to train it further, give it "
                "as the base of a new training."
            )
        arrays = file.read()
        model = model_from(header, arrays, path)
    except InvalidBundle as error:
        raise InvalidCheckpoint(f"The checkpoint cannot be used. {error.message}") from None
    tensors = from_arrays(arrays, _PREFIX)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise InvalidCheckpoint(f"The checkpoint {path.name} holds numbers that are not finite.")
    best = {
        name.removeprefix(_BEST): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(_BEST)
    }
    return Checkpoint(header, header.training, model, tensors, _checked(best, model, path))


def _checked(
    best: Mapping[str, Tensor], model: TextGenerator, path: Path
) -> Mapping[str, Tensor] | None:
    if not best:
        return None
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if shapes != {name: value.shape for name, value in best.items()}:
        raise InvalidCheckpoint(f"The best weights in {path.name} are of another model.")
    return best
