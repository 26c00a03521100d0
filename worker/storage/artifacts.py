"""Immutable named folders of files, published whole or not at all.

An artifact such as ``jobs/<job>/<token>/step-120`` is files and a manifest with their sizes and
SHA-256. It is prepared aside and gets its name when all of it is safely stored; what publishes
it to users is a pointer in SQL alone. Names are made by the server, and checked all the same.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from worker.errors import CorruptArtifact
from worker.storage.artifact_backends import (
    MANIFEST,
    Backend,
    LocalBackend,
    RemoteBackend,
    make_folders,
    newest_write,
)
from worker.storage.artifact_staging import FileInfo, Staging

__all__ = ["Artifact", "ArtifactStore", "FileInfo", "Staging"]

BAD_MANIFEST = "manifest.bad.json"
CHUNK = 2**20
MAX_MANIFEST_BYTES = 2**24
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published artifact and what its manifest says."""

    name: str
    files: Mapping[str, FileInfo]


class ArtifactStore:
    """Artifacts under a folder, or under any URL that fsspec knows; safe to share by threads.

    ``cache`` is where files of remote storage are kept once fetched; without one a fresh
    temporary folder is used.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._checked: set[tuple[str, str, int, int]] = set()
        self._backend: Backend
        if "://" in url and not url.startswith("file://"):
            self._cache = cache if cache is not None else Path(tempfile.mkdtemp(prefix="textgen-"))
            self._backend = RemoteBackend(url, self._cache)
        else:
            self._backend = LocalBackend(Path(url.removeprefix("file://")))
            self._cache = self._backend.staging

    @contextmanager
    def create(self, name: str) -> Iterator[Staging]:
        """Prepare an artifact; without ``commit()``, or after an exception, nothing is left."""
        _check_name(name)
        make_folders(self._backend.staging)
        folder = Path(tempfile.mkdtemp(dir=self._backend.staging))
        try:
            yield Staging(folder, lambda files: self._publish(folder, name, files))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _publish(self, folder: Path, name: str, files: Mapping[str, FileInfo]) -> Artifact:
        self._backend.publish(folder, name)
        return Artifact(name, dict(files))

    def get(self, name: str) -> Artifact:
        """The manifest; raises FileNotFoundError, or CorruptArtifact when it cannot be read."""
        _check_name(name)
        with self._backend.open(name, MANIFEST) as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
        try:
            entries = json.loads(data)["files"]
            files = {
                file: FileInfo(bytes=int(entry["bytes"]), sha256=str(entry["sha256"]))
                for file, entry in entries.items()
            }
            for file in files:
                _check_part(file)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptArtifact(f"The manifest of artifact {name} is damaged.") from error
        return Artifact(name, files)

    def open(self, name: str, file: str, offset: int = 0) -> BinaryIO:
        """A file for reading, from a byte on, as stored (see ``verify``)."""
        _check_name(name)
        _check_part(file)
        if file not in self.get(name).files:
            raise FileNotFoundError(errno.ENOENT, "no such file in the artifact", f"{name}/{file}")
        stream = self._backend.open(name, file)
        stream.seek(offset)
        return stream

    def local_path(self, name: str, file: str) -> Path:
        """The file on this machine, fetched if need be, its SHA-256 checked once a process.

        Raises FileNotFoundError, and CorruptArtifact when the bytes are not those stored.
        """
        _check_part(file)
        info = self.get(name).files.get(file)
        if info is None:
            raise FileNotFoundError(errno.ENOENT, "no such file in the artifact", f"{name}/{file}")
        path = self._backend.path(name, file)
        if path is None:
            path = self._fetch(name, file, info)
        status = path.stat()
        mark = (str(path), info.sha256, status.st_size, status.st_mtime_ns)
        with self._lock:
            known = mark in self._checked
        if not known:
            with path.open("rb") as stream:
                _compare(stream, info, f"{name}/{file}")
            with self._lock:
                self._checked.add(mark)
        return path

    def _fetch(self, name: str, file: str, info: FileInfo) -> Path:
        """Copy a remote file into the cache, under its hash."""
        target = self._cache / info.sha256[:2] / info.sha256
        if target.exists():
            return target
        make_folders(target.parent)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as copy, self._backend.open(name, file) as stream:
                shutil.copyfileobj(stream, copy, CHUNK)
            Path(temporary).replace(target)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return target

    def verify(self, name: str) -> Artifact:
        """Read everything back; raises CorruptArtifact naming the file that differs."""
        artifact = self.get(name)
        for file, info in artifact.files.items():
            try:
                with self._backend.open(name, file) as stream:
                    _compare(stream, info, f"{name}/{file}")
            except FileNotFoundError as error:
                raise CorruptArtifact(f"{name}/{file} is missing.") from error
        return artifact

    def quarantine(self, name: str) -> None:
        """Make a damaged artifact invisible, its bytes kept for whoever looks into it."""
        _check_name(name)
        self._backend.rename(name, MANIFEST, BAD_MANIFEST)

    def delete(self, name: str) -> None:
        """Remove an artifact; nothing happens when it is not there."""
        _check_name(name)
        self._backend.delete(name)

    def list(self, prefix: str = "", *, older_than_seconds: float = 0) -> Iterator[str]:
        """Names of the published artifacts at and under a folder."""
        if prefix:
            _check_name(prefix)
        limit = time.time() - older_than_seconds
        for name, made_at in self._backend.list(prefix):
            if made_at <= limit:
                yield name

    def sweep_staging(self, older_than_seconds: float) -> int:
        """Remove what died before it was published; returns how many folders went.

        What is still written to stays, however long ago it began.
        """
        limit = time.time() - older_than_seconds
        removed = 0
        _, folders, _ = next(os.walk(self._backend.staging), ("", [], []))
        for folder in map(self._backend.staging.joinpath, folders):
            files = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
            written = newest_write([folder, *files])
            if written is not None and written < limit:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def free_bytes(self) -> int:
        """Space left for artifacts; a very large number where storage has no bound."""
        return self._backend.free_bytes()


def _compare(stream: BinaryIO, info: FileInfo, name: str) -> None:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    if (size, digest.hexdigest()) != (info.bytes, info.sha256):
        raise CorruptArtifact(
            f"{name} is damaged: {size} bytes with another SHA-256 than the "
            f"{info.bytes} bytes that were stored."
        )


def _check_name(name: str) -> None:
    for part in name.split("/"):
        _check_part(part)


def _check_part(part: str) -> None:
    if not _PART.fullmatch(part):
        raise ValueError(f"{part!r} cannot be part of an artifact's name")
