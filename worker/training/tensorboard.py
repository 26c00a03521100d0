"""The measurements of a training as a file that TensorBoard reads.

An event file is a row of records: a length, the data, and a checksum of each. The data is a
protocol buffer, `tensorflow.Event`, of which numbers need three fields. Why no library writes it:
docs/decisions/dependencies.md.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from worker.jobs.rows import JobEvent

VERSION = b"brain.Event:2"  # what the first record of a file must say
NO_CURVE = frozenset(("step", "total_steps", "seconds"))
PARTS = ("full_valid", "valid", "train", "test")


def event_file(events: Iterable[JobEvent]) -> Iterator[bytes]:
    """The file, record by record; only events of type metrics are looked at.

    A step that a resumed training measured again counts once, as its last measurement.
    """
    measured: dict[int, tuple[float, dict[str, float]]] = {}
    began: float | None = None
    for event in events:
        if event.type != "metrics":
            continue
        began = event.created_at if began is None else began
        step = int(event.data["step"])
        _, known = measured.get(step, (0.0, {}))
        measured[step] = (event.created_at, {**known, **_numbers(event.data)})
    began = 0.0 if began is None else began
    yield _record(_double(1, began) + _bytes(3, VERSION))
    for step in sorted(measured):
        at, values = measured[step]
        summary = b"".join(
            _bytes(1, _bytes(1, curve(name).encode()) + _float(2, value))
            for name, value in values.items()
        )
        yield _record(_double(1, at) + _integer(2, step) + _bytes(5, summary))


def curve(name: str) -> str:
    """The tag of a measurement: train_loss is train/loss, so that TensorBoard groups them."""
    for part in PARTS:
        if name.startswith(f"{part}_"):
            return f"{part}/{name.removeprefix(f'{part}_')}"
    return name


def _numbers(data: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in data.items()
        if name not in NO_CURVE
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }


# ---- protocol buffers: a key (number and wire type), then the value ----


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


# ---- records, with Castagnoli's checksum, which zlib does not have ----


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, turned and shifted as the format wants it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> tuple[int, ...]:
    def row(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(map(row, range(256)))


_TABLE = _table()
