"""Whether the bytes of a file are those that were stored."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from worker.errors import CorruptArtifact
from worker.storage.artifact_staging import CHUNK, FileInfo

Mark = tuple[int, int]


def mark_of(path: Path) -> Mark:
    """What tells that a file is the one that was looked at before."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def compared(path: Path, info: FileInfo, name: str) -> Mark:
    """The mark of a file whose bytes are those stored; raises CorruptArtifact."""
    mark = mark_of(path)
    with path.open("rb") as stream:
        compare(stream, info, name)
    return mark


def compare(stream: BinaryIO, info: FileInfo, name: str) -> None:
    """Read to the end; raises CorruptArtifact, which names the file."""
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    check_info(FileInfo(size, digest.hexdigest()), info, name)


def check_info(found: FileInfo, stored: FileInfo, name: str) -> None:
    """Raises CorruptArtifact where these differ."""
    if found != stored:
        raise CorruptArtifact(
            f"{name} is damaged: {found.bytes} bytes with another SHA-256 than the "
            f"{stored.bytes} bytes that were stored."
        )
