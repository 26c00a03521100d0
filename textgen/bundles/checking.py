"""Whether a model file from elsewhere is whole and honest: without torch, in constant memory.

What `load_bundle` would refuse, `check_bundle` refuses too, before anybody waits for it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from textgen.bundles.header import MODEL_PREFIX, BundleHeader, header_of
from textgen.bundles.tensor_file import TensorFile, TensorInfo, open_tensor_file
from textgen.costs import parameters
from textgen.errors import InvalidBundle

COPIES_PREFIX = "copies."
CHUNK = 4 << 20  # bytes; a multiple of every item's size


def check_bundle(path: Path) -> BundleHeader:
    """The header of a file that can be used; InvalidBundle on damage or false statements."""
    file = open_tensor_file(path)
    header = header_of(file)
    counted = parameters(header.model, header.vocab_size)
    if counted != header.parameters:
        raise InvalidBundle(f"{path.name} has {counted} parameters and says {header.parameters}.")
    filters = [each for name, each in file.tensors.items() if name.startswith(COPIES_PREFIX)]
    if header.copy_index is not None and not (
        filters and all(each.dtype == "U8" and each.start < each.end for each in filters)
    ):
        raise InvalidBundle(f"{path.name} says that it has an index of copies, and has none.")
    _check_data(file)
    return header


def _check_data(file: TensorFile) -> None:
    """Every byte by the checksum, every weight for being a number."""
    digest = hashlib.sha256()
    places = sorted(file.tensors.items(), key=lambda item: item[1].start)
    with file.path.open("rb") as source:
        source.seek(file.data_start)
        for name, info in places:
            finite = True
            for left in range(info.end - info.start, 0, -CHUNK):
                piece = source.read(min(left, CHUNK))
                digest.update(piece)
                finite = finite and _is_finite(name, info, piece)
            if not finite:
                raise InvalidBundle(f"{file.path.name} holds weights that are not finite numbers.")
    if digest.hexdigest() != file.data_sha256:
        raise InvalidBundle(
            f"{file.path.name} is damaged: its tensors do not match their checksum. "
            "Use another copy of it."
        )


def _is_finite(name: str, info: TensorInfo, piece: bytes) -> bool:
    if not name.startswith(MODEL_PREFIX) or info.dtype != "F32" or len(piece) % 4:
        return True
    return bool(np.isfinite(np.frombuffer(piece, "<f4")).all())
