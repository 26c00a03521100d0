"""Tensors and a JSON text in one safetensors file, with checksums over both.

The file is plain safetensors (https://github.com/huggingface/safetensors): eight bytes with the
length of a JSON object, that object, then the tensors' bytes without gaps. Its ``__metadata__``
holds our JSON text under ``textgen``, a checksum of the tensors' bytes, and one of everything
else. Reading one runs no code from it, and trusts no number in it before it was checked. No torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidBundle

Array = npt.NDArray[Any]
MAX_HEADER_BYTES = 32 << 20
_MAX_TENSORS = 10_000
_ALIGNMENT = 64
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies: bytes ``start`` to ``end`` after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def as_json(self) -> dict[str, Any]:
        """The entry in the file's header."""
        offsets = [self.start, self.end]
        return {"dtype": self.dtype, "shape": list(self.shape), "data_offsets": offsets}


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A file whose header was read and checked; its tensors are still on disk."""

    path: Path
    text: str
    tensors: Mapping[str, TensorInfo]
    data_start: int
    data_sha256: str

    def read(self) -> dict[str, Array]:
        """All tensors, after a check of their checksum."""
        with self.path.open("rb") as file:
            file.seek(self.data_start)
            data = np.fromfile(file, np.uint8)
        if hashlib.sha256(data.data).hexdigest() != self.data_sha256:
            raise InvalidBundle(
                f"{self.path.name} is damaged: its tensors do not match their checksum. "
                "Use another copy of it."
            )
        return {
            name: data[info.start : info.end].view(_DTYPES[info.dtype]).reshape(info.shape)
            for name, info in self.tensors.items()
        }


def write_tensor_file(path: Path, text: str, tensors: Mapping[str, Array]) -> None:
    """Write the whole file, or leave what was there: safe on disk when this returns."""
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    # Wide types first keeps each tensor on a multiple of its item size.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    table, digest, position = {}, hashlib.sha256(), 0
    for name in names:
        array = arrays[name]
        end = position + array.nbytes
        table[name] = TensorInfo(_NAMES[array.dtype], tensors[name].shape, position, end)
        digest.update(_bytes(array))
        position = end
    header = _header(text, table, digest.hexdigest())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for name in names:
                file.write(_bytes(arrays[name]))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(path.parent)


def open_tensor_file(path: Path) -> TensorFile:
    """Read and check the header; InvalidBundle on anything but a whole file of ours."""
    with path.open("rb") as file:
        header, length = _read_header(path, file)
    size = path.stat().st_size
    table, text, data_sha256 = _checked(path, header)
    _check_places(path, table, size - 8 - length)
    return TensorFile(path, text, table, 8 + length, data_sha256)


def read_text(file: BinaryIO, name: str) -> str:
    """The JSON text at the head of a file of which no more is read; InvalidBundle on damage."""
    path = Path(name)
    _, text, _ = _checked(path, _read_header(path, file)[0])
    return text


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The JSON object at the head, and how many bytes it has."""
    prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    if not 2 <= length <= MAX_HEADER_BYTES:
        _refuse(path, "it does not begin as a safetensors file of ours does")
    raw = file.read(length)
    if len(raw) < length:
        _refuse(path, f"it is cut short within its header, after {8 + len(raw)} bytes")
    return _parse(path, raw), length


def _checked(path: Path, header: dict[str, Any]) -> tuple[dict[str, TensorInfo], str, str]:
    """The tensors, our text and the data's checksum, by their own checksum undamaged."""
    metadata = header.pop("__metadata__", None)
    keys = {"textgen", "data_sha256", "header_sha256"}
    if not isinstance(metadata, dict) or not keys <= metadata.keys():
        _refuse(path, "another program wrote it")
    if not all(isinstance(value, str) for value in metadata.values()):
        _refuse(path, "its metadata are not texts")
    tensors = {name: _entry(path, name, entry) for name, entry in header.items()}
    text, data_sha256 = metadata["textgen"], metadata["data_sha256"]
    if _header_digest(text, tensors, data_sha256) != metadata["header_sha256"]:
        _refuse(path, "its header does not match its checksum: it is damaged")
    return tensors, text, data_sha256


def parse_json(text: str | bytes) -> Any:
    """JSON without NaN and repeated keys; ValueError or RecursionError otherwise."""
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_repeats)


def _header(text: str, table: Mapping[str, TensorInfo], data_sha256: str) -> bytes:
    metadata = {
        "textgen": text,
        "data_sha256": data_sha256,
        "header_sha256": _header_digest(text, table, data_sha256),
    }
    entries: dict[str, Any] = {"__metadata__": metadata}
    entries |= {name: info.as_json() for name, info in table.items()}
    header = json.dumps(entries, separators=(",", ":")).encode()
    # Spaces at the end are allowed, so that the tensors begin on an aligned address.
    header += b" " * (-(8 + len(header)) % _ALIGNMENT)
    if len(header) > MAX_HEADER_BYTES:
        raise InvalidBundle(f"The header has {len(header)} bytes; {MAX_HEADER_BYTES} are allowed.")
    return header


def _header_digest(text: str, table: Mapping[str, TensorInfo], data_sha256: str) -> str:
    entries = {name: info.as_json() for name, info in table.items()}
    values = json.dumps([text, data_sha256, entries], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(values.encode()).hexdigest()


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        header = parse_json(raw)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or len(header) > _MAX_TENSORS:
        _refuse(path, "its header is no JSON object of tensors")
    return header


def _check_places(path: Path, table: Mapping[str, TensorInfo], data_size: int) -> None:
    """The tensors must fill the rest of the file exactly."""
    position = 0
    for name, info in sorted(table.items(), key=lambda item: (item[1].start, item[1].end)):
        itemsize = _DTYPES[info.dtype].itemsize
        if info.start != position or info.end - info.start != math.prod(info.shape) * itemsize:
            _refuse(path, f"the place of its tensor {name[:80]!r} does not fit")
        if info.start % itemsize:
            _refuse(path, f"its tensor {name[:80]!r} is not aligned")
        position = info.end
    if position != data_size:
        _refuse(path, f"it should hold {position} bytes of tensors but has {data_size}")


def _entry(path: Path, name: str, entry: Any) -> TensorInfo:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(path, f"its entry for the tensor {name[:80]!r} has other fields")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    known = isinstance(dtype, str) and dtype in _DTYPES
    if not (known and _naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        _refuse(path, f"its entry for the tensor {name[:80]!r} is none that we write")
    return TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])


def _naturals(values: Any) -> bool:
    few = isinstance(values, list) and len(values) <= 4
    return few and all(type(value) is int and 0 <= value < 2**48 for value in values)


def _refuse(path: Path, reason: str) -> NoReturn:
    raise InvalidBundle(f"{path.name} is not a model file that can be used: {reason}.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
