"""Immutable named folders of files, published whole or not at all.

An artifact such as ``jobs/<job>/<token>/step-120`` is files and a manifest with their sizes and
SHA-256. It is prepared aside and gets its name when all of it is safely stored; what publishes
it to users is a pointer in SQL alone. Names are made by the server, and checked all the same.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from textgen.errors import TextgenError
from worker.errors import CorruptArtifact, DiskFull, Unavailable
from worker.storage.artifact_backends import (
    BAD_MANIFEST,
    MANIFEST,
    Backend,
    LocalBackend,
    make_folders,
    newest_write,
)
from worker.storage.artifact_staging import FileInfo, HashingWriter, Staging
from worker.storage.comparing import Mark, check_info, compare, compared, mark_of
from worker.storage.file_cache import FileCache
from worker.storage.remote_backend import RemoteBackend

__all__ = ["Artifact", "ArtifactStore", "FileInfo", "Staging", "check_name", "check_part"]

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

    ``cache`` is where copies of remote files are kept, at most ``cache_bytes`` of those that nobody
    uses; any number of stores may share it. Without one a temporary folder is used, which goes
    with the store, so that no copy outlives a process that ends in peace.
    """

    def __init__(
        self, url: str, cache: Path | None = None, *, cache_bytes: int | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._checked: dict[tuple[str, str], tuple[Path, Mark]] = {}
        self._backend: Backend
        self._copies: FileCache | None = None  # where the storage is not of this machine
        if "://" in url and not url.startswith("file://"):
            folder = self._own_cache() if cache is None else cache
            self._backend = RemoteBackend(url, folder)
            self._copies = FileCache(folder, cache_bytes)
        else:
            self._backend = LocalBackend(Path(url.removeprefix("file://")))

    def _own_cache(self) -> Path:
        folder = tempfile.mkdtemp(prefix="textgen-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @contextmanager
    def create(self, name: str) -> Iterator[Staging]:
        """Prepare an artifact; without ``commit()``, or after an exception, nothing is left."""
        check_name(name)
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
        check_name(name)
        with self._backend.open(name, MANIFEST) as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
        try:
            entries = json.loads(data)["files"]
            files = {
                file: FileInfo(bytes=int(entry["bytes"]), sha256=str(entry["sha256"]))
                for file, entry in entries.items()
            }
            for file in files:
                check_part(file)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptArtifact(f"The manifest of artifact {name} is damaged.") from error
        return Artifact(name, files)

    def open(self, name: str, file: str, offset: int = 0) -> BinaryIO:
        """A file for reading, from a byte on, as stored (see ``verify``)."""
        check_name(name)
        check_part(file)
        if file not in self.get(name).files:
            raise FileNotFoundError(errno.ENOENT, "no such file in the artifact", f"{name}/{file}")
        stream = self._backend.open(name, file)
        stream.seek(offset)
        return stream

    def local_path(self, name: str, file: str) -> Path:
        """The file on this machine, fetched if need be, its SHA-256 checked once a process.

        A copy of a remote file stays for ten minutes at the least: see ``held``. Raises
        FileNotFoundError, and CorruptArtifact when the bytes are not those stored.
        """
        with self._lock:
            known = self._checked.get((name, file))
        if known is not None and self._is_there(*known):
            return known[0]
        check_part(file)
        info = self.get(name).files.get(file)
        if info is None:
            raise FileNotFoundError(errno.ENOENT, "no such file in the artifact", f"{name}/{file}")
        path, mark = self._find(name, file, info)
        with self._lock:
            self._checked[name, file] = (path, mark)
        return path

    @contextmanager
    def held(self, name: str, file: str) -> Iterator[Path]:
        """As ``local_path``; the file stays where it is until the block ends."""
        while True:
            path = self.local_path(name, file)
            if self._copies is None:
                yield path
                return
            with self._copies.held(path) as there:
                if there:
                    yield path
                    return

    def tidy_copies(self) -> None:
        """Let go of copies of remote files that are too many, or unused for a day."""
        if self._copies is not None:
            self._copies.tidy()

    def _is_there(self, path: Path, mark: Mark) -> bool:
        """Whether a file is there as it was checked; if so it stays for now."""
        with suppress(FileNotFoundError):
            if self._copies is None or self._copies.note_use(path):
                return mark_of(path) == mark
        return False

    def _find(self, name: str, file: str, info: FileInfo) -> tuple[Path, Mark]:
        """The file on this machine, whose bytes are those of the manifest."""
        path = self._backend.path(name, file)
        if path is None and self._copies is not None:
            return self._find_copy(self._copies, name, file, info)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "no such file here", f"{name}/{file}")
        return path, compared(path, info, f"{name}/{file}")

    def _find_copy(
        self, copies: FileCache, name: str, file: str, info: FileInfo
    ) -> tuple[Path, Mark]:
        def fetch(copy: BinaryIO) -> None:
            writer = HashingWriter(copy)
            with self._backend.open(name, file) as stream:
                shutil.copyfileobj(stream, writer, CHUNK)
            check_info(writer.info(), info, f"{name}/{file}")

        path = copies.get(info.sha256, info.bytes, fetch)
        try:
            return path, compared(path, info, f"{name}/{file}")
        except CorruptArtifact:  # here, since it was compared when it was fetched
            copies.drop(path)
            path = copies.get(info.sha256, info.bytes, fetch)
            return path, mark_of(path)

    def verify(self, name: str) -> Artifact:
        """Read everything back; raises CorruptArtifact naming the file that differs."""
        artifact = self.get(name)
        for file, info in artifact.files.items():
            try:
                with self._backend.open(name, file) as stream:
                    compare(stream, info, f"{name}/{file}")
            except FileNotFoundError as error:
                raise CorruptArtifact(f"{name}/{file} is missing.") from error
        return artifact

    def quarantine(self, name: str) -> None:
        """Make a damaged artifact invisible, its bytes kept for whoever looks into it."""
        check_name(name)
        self._backend.rename(name, MANIFEST, BAD_MANIFEST)

    def delete(self, name: str) -> None:
        """Remove an artifact; nothing happens when it is not there."""
        check_name(name)
        self._backend.delete(name)

    @contextmanager
    def deleted_if_refused(self, name: str) -> Iterator[None]:
        """Within, a row that points to an artifact is written; refused, the artifact goes.

        Where it is not known whether the row is there, as after a connection that broke in a
        commit, the artifact stays: the sweep knows later.
        """
        try:
            yield
        except DiskFull:  # of the database, too: nothing was written
            self.delete(name)
            raise
        except Unavailable:
            raise
        except TextgenError:
            self.delete(name)
            raise

    def list(
        self, prefix: str = "", *, older_than_seconds: float = 0, quarantined: bool = False
    ) -> Iterator[str]:
        """Names of the published artifacts at and under a folder, or of those in quarantine."""
        if prefix:
            check_name(prefix)
        limit = time.time() - older_than_seconds
        for name, made_at in self._backend.list(prefix, BAD_MANIFEST if quarantined else MANIFEST):
            if made_at <= limit:
                yield name

    def unfinished(self, prefix: str, *, older_than_seconds: float) -> Iterator[str]:
        """Names under a folder of what was not stored whole, or not deleted whole.

        ``delete`` removes it. What was written to since is left out: it may become whole.
        """
        check_name(prefix)
        limit = time.time() - older_than_seconds
        for name, written in self._backend.unfinished(prefix):
            if written <= limit:
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

    def remove_empty_folders(self, prefix: str, older_than_seconds: float) -> None:
        """Remove folders under a folder in which nothing lies, and nothing has for so long."""
        self._backend.remove_empty_folders(prefix, time.time() - older_than_seconds)

    def free_bytes(self) -> int:
        """Space left for artifacts; a very large number where storage has no bound."""
        return self._backend.free_bytes()


def check_name(name: str) -> str:
    """The name, which leads to nowhere outside of the storage; raises ValueError."""
    for part in name.split("/"):
        check_part(part)
    return name


def check_part(part: str) -> str:
    """A file's name, or a part of an artifact's; raises ValueError."""
    if not _PART.fullmatch(part):
        raise ValueError(f"{part!r} cannot be part of an artifact's name")
    return part
