"""A trained model in one file: weights, tokenizer, how it was made and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textgen.bundles.header import MODEL_PREFIX, BundleHeader, header_of, read_header
from textgen.bundles.tensor_file import Array, open_tensor_file, write_tensor_file
from textgen.corpus.copy_index import CopyIndex
from textgen.errors import InvalidBundle
from textgen.model import TextGenerator
from textgen.tokenizers import Tokenizer, load_tokenizer

_COPIES = "copies."  # before the number of each filter
__all__ = ["Bundle", "BundleHeader", "load_bundle", "read_header", "save_bundle"]


@dataclass(frozen=True)
class Bundle:
    """A model that is ready for use: in evaluation mode, on the device asked for."""

    header: BundleHeader
    tokenizer: Tokenizer
    model: TextGenerator
    copies: CopyIndex | None = None  # which passages its training text has


def load_bundle(path: Path, device: str = "cpu") -> Bundle:
    """Read and check a model file or a checkpoint; InvalidBundle on any damage."""
    file = open_tensor_file(path)
    header = header_of(file)
    arrays = file.read()
    model = model_from(header, arrays, path).to(device).eval()
    return Bundle(header, load_tokenizer(header.tokenizer), model, _copies(header, arrays, path))


def save_bundle(
    path: Path,
    header: BundleHeader,
    weights: Mapping[str, Tensor],
    copies: CopyIndex | None = None,
) -> None:
    """Write the model whose state dict is ``weights``; whole and safe on disk, or not at all.

    ``path`` keeps what it held until the new file is complete. ``copies`` is for a header with its
    ``copy_index``.
    """
    arrays = to_arrays(weights, MODEL_PREFIX)
    for number, bits in enumerate(() if copies is None else copies.filters):
        arrays[f"{_COPIES}{number}"] = bits
    write_tensor_file(path, header.model_dump_json(), arrays)


def count_parameters(model: TextGenerator) -> int:
    """How many numbers the model has learnt; tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def model_from(header: BundleHeader, arrays: Mapping[str, Array], path: Path) -> TextGenerator:
    """The model in a file's tensors, whose shapes were checked with the header."""
    weights = from_arrays(arrays, MODEL_PREFIX)
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise InvalidBundle(f"{path.name} holds weights that are not finite numbers.")
    with torch.random.fork_rng(devices=[]):  # the first weights are random, and are overwritten
        model = TextGenerator.from_options(header.vocab_size, header.model)
    model.load_state_dict(weights)
    if count_parameters(model) != header.parameters:
        raise InvalidBundle(
            f"{path.name} has {count_parameters(model)} parameters and says {header.parameters}."
        )
    return model


def _copies(header: BundleHeader, arrays: Mapping[str, Array], path: Path) -> CopyIndex | None:
    if header.copy_index is None:
        return None
    names = sorted(name for name in arrays if name.startswith(_COPIES))
    filters = [arrays[name] for name in names]
    if not filters or any(each.dtype != np.uint8 or each.size == 0 for each in filters):
        raise InvalidBundle(f"{path.name} says that it has an index of copies, and has none.")
    return CopyIndex(header.copy_index + 1, filters)


def to_arrays(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Array]:
    """Tensors as numpy arrays on the CPU, their names after ``prefix``."""
    return {prefix + name: value.detach().cpu().numpy() for name, value in tensors.items()}


def from_arrays(arrays: Mapping[str, Array], prefix: str) -> dict[str, Tensor]:
    """Copies, as tensors, of the arrays whose names begin with ``prefix``."""
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
