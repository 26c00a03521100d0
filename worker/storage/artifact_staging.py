"""An artifact while it is being written: hashed on the way, flushed to the disk at the end."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from worker.errors import DiskFull
from worker.storage.artifact_backends import MANIFEST

if TYPE_CHECKING:
    from worker.storage.artifacts import Artifact

CHUNK = 2**20
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Size and hash of one file."""

    bytes: int
    sha256: str


class Staging:
    """Files on their way into an artifact. One thread at a time."""

    def __init__(self, folder: Path, publish: Callable[[Mapping[str, FileInfo]], Artifact]) -> None:
        self._folder = folder
        self._publish = publish
        self._files: dict[str, FileInfo] = {}

    @contextmanager
    def open(self, file: str) -> Iterator[HashingWriter]:
        """Write a new file; it belongs to the artifact when the block ends well."""
        if not _FILE.fullmatch(file) or file == MANIFEST or file in self._files:
            raise ValueError(f"{file!r} cannot be a file of this artifact")
        path = self._folder / file
        with disk_full_explained():
            try:
                with path.open("xb") as stream:
                    writer = HashingWriter(stream)
                    yield writer
                    stream.flush()
                    os.fsync(stream.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        self._files[file] = writer.info()

    def add(self, source: Path, file: str) -> FileInfo:
        """Copy a file in."""
        with source.open("rb") as stream:
            return self.copy(stream, file)

    def copy(self, stream: BinaryIO, file: str) -> FileInfo:
        """Copy a stream in, from where it stands to its end."""
        with self.open(file) as writer:
            shutil.copyfileobj(stream, writer, CHUNK)
        return self._files[file]

    def path(self, file: str) -> Path:
        """Where a file that was written lies until ``commit``, to be looked at."""
        if file not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file was written", file)
        return self._folder / file

    def commit(self) -> Artifact:
        """Publish what was written; raises FileExistsError when the name is taken."""
        manifest = {"files": {file: asdict(info) for file, info in self._files.items()}}
        with disk_full_explained():
            with (self._folder / MANIFEST).open("xb") as stream:
                stream.write(json.dumps(manifest, indent=1).encode())
                stream.flush()
                os.fsync(stream.fileno())
            return self._publish(self._files)


class HashingWriter:
    """Writes on, and knows the size and SHA-256 of what it wrote."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Write all of it."""
        self._stream.write(data)
        self._digest.update(data)
        self._size += len(data)
        return len(data)

    def info(self) -> FileInfo:
        """Size and hash so far."""
        return FileInfo(bytes=self._size, sha256=self._digest.hexdigest())


@contextmanager
def disk_full_explained() -> Iterator[None]:
    """Raise DiskFull where the system says that no space is left."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("The disk for artifacts is full. Free some space.") from error
        raise
