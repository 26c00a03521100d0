"""Artifacts in any storage that fsspec knows, such as S3."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import override

from worker.storage.artifact_backends import (
    MANIFEST,
    MANIFESTS,
    STAGING,
    Backend,
    StorageAway,
)

# By itself s3fs would hold 50 MiB of each file that is read, and ten times that of one it stores.
READ_AHEAD = 4 * 2**20
PART = 16 * 2**20


@contextmanager
def told_as_storage_away() -> Iterator[None]:
    """Raise StorageAway for what is wrong with the storage, whatever its library calls it."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except Exception as error:
        if type(error).__module__ == "builtins" and not isinstance(error, OSError):
            raise
        number = getattr(error, "errno", None) or errno.EIO
        raise StorageAway(number, f"the storage does not answer: {error}") from error


class RemoteBackend(Backend):
    """Any fsspec file system. Object stores put an object whole; the manifest goes last.

    Storage that is away is a StorageAway, whatever its library calls it.
    """

    def __init__(self, url: str, cache: Path) -> None:
        import fsspec

        self._fs: Any
        self._fs, root = fsspec.core.url_to_fs(url)
        # Other processes write there too: what a folder held a moment ago says nothing.
        self._fs.dircache.use_listings_cache = False
        self._root = str(root).rstrip("/")
        self.staging = cache / STAGING

    @override
    @told_as_storage_away()
    def publish(self, folder: Path, name: str) -> None:
        target = f"{self._root}/{name}"
        if self._fs.exists(f"{target}/{MANIFEST}"):
            raise FileExistsError(f"artifact {name} exists already")
        self._fs.makedirs(target, exist_ok=True)
        last_manifest = sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST)
        for path in last_manifest:
            self._put(path, f"{target}/{path.name}")
        shutil.rmtree(folder)

    @override
    @told_as_storage_away()
    def open(self, name: str, file: str) -> BinaryIO:
        path = f"{self._root}/{name}/{file}"
        return io.BufferedReader(_RemoteFile(self._fs.open(path, "rb", block_size=READ_AHEAD)))

    @override
    def path(self, name: str, file: str) -> Path | None:
        return None

    @override
    @told_as_storage_away()
    def rename(self, name: str, file: str, to: str) -> None:
        self._fs.mv(f"{self._root}/{name}/{file}", f"{self._root}/{name}/{to}")

    @override
    @told_as_storage_away()
    def delete(self, name: str) -> None:
        target = f"{self._root}/{name}"
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{target}/{MANIFEST}")
        with suppress(FileNotFoundError):
            self._fs.rm(target, recursive=True)

    @override
    def list(self, prefix: str, manifest: str = MANIFEST) -> Iterator[tuple[str, float]]:
        for path, info in sorted(self._find(prefix).items()):
            folder, _, file = str(path).rpartition("/")
            if file == manifest:
                yield folder[len(self._root) :].strip("/"), _made_at(info)

    @override
    def unfinished(self, prefix: str) -> Iterator[tuple[str, float]]:
        written: dict[str, float] = {}
        finished = set()
        for path, info in self._find(prefix).items():
            folder, _, file = str(path).rpartition("/")
            name = folder[len(self._root) :].strip("/")
            if file in MANIFESTS:
                finished.add(name)
            written[name] = max(written.get(name, 0.0), _made_at(info))
        for name in sorted(set(written) - finished):
            yield name, written[name]

    @override
    def free_bytes(self) -> int:
        return sys.maxsize

    def _put(self, path: Path, to: str) -> None:
        """Store a file, holding no more than a part of it in memory."""
        if path.stat().st_size <= PART:
            self._fs.pipe_file(to, path.read_bytes())
            return
        with path.open("rb") as source, self._fs.open(to, "wb", block_size=PART) as target:
            shutil.copyfileobj(source, target, PART)

    @told_as_storage_away()
    def _find(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        with suppress(FileNotFoundError):  # of a bucket that the first artifact will make
            found = self._fs.find(f"{self._root}/{prefix}".rstrip("/"), detail=True)
        return found


class _RemoteFile(io.RawIOBase):
    """A file of an fsspec file system; what is wrong while it is read is an OSError too."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    @told_as_storage_away()
    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    @override
    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _made_at(info: Mapping[str, Any]) -> float:
    """A file's time by what its file system says, as seconds since 1970; 0 where it keeps none."""
    moment = next((info[key] for key in ("created", "LastModified", "mtime") if key in info), None)
    if isinstance(moment, datetime):
        return moment.timestamp()
    return float(moment) if isinstance(moment, int | float) else 0.0
