"""Where backups lie: a folder, any storage that fsspec knows, or one zip file.

Names are paths with ``/``. Each file appears under its name when all of it is written, and so does
a zip file.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from textgen.errors import TextgenError
from worker.storage.artifact_staging import FileInfo, disk_full_explained

CHUNK = 2**20
ZIP = ".zip"
# What reading raises when packed bytes are not what was packed.
DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


class BackupUnusable(TextgenError):
    """A backup that is not there, not whole, or not what it was."""

    default_code = "backup_unusable"


class Archive:
    """Files under names. One thread at a time."""

    def __init__(self, file_system: Any, root: str, *, growing: bool) -> None:
        self._fs = file_system
        self._root = root.rstrip("/")
        self.growing = growing  # whether what it holds already can be left as it is

    def put(self, name: str, source: BinaryIO) -> FileInfo:
        """Store a file, whole or not at all; returns what was stored. Raises DiskFull."""
        path = self._path(name)
        if self.growing:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with disk_full_explained(), self._appearing(path) as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        return FileInfo(size, digest.hexdigest())

    @contextmanager
    def _appearing(self, path: str) -> Iterator[BinaryIO]:
        """A file that gets its name when it is whole; in object stores and zip files all do."""
        from fsspec.implementations.local import LocalFileSystem

        if not (self.growing and isinstance(self._fs, LocalFileSystem)):
            with self._fs.open(path, "wb") as target:
                yield target
            return
        partial = Path(f"{path}.partial")
        try:
            with partial.open("wb") as target:
                yield target
                target.flush()
                os.fsync(target.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def open(self, name: str) -> BinaryIO:
        """A file for reading; raises FileNotFoundError, BackupUnusable."""
        with _damage_named(name):
            stream: BinaryIO = self._fs.open(self._path(name), "rb")
        return stream

    def read(self, name: str) -> bytes | None:
        """All of a small file; None where there is none."""
        try:
            with self.open(name) as stream:
                return stream.read()
        except (FileNotFoundError, KeyError):  # a zip file says KeyError
            return None

    def folders(self, name: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        path = self._path(name)
        if not self._fs.exists(path):
            return []
        found = self._fs.ls(path, detail=True)
        return sorted(
            str(entry["name"]).rstrip("/").rpartition("/")[2]
            for entry in found
            if entry["type"] == "directory"
        )

    def remove(self, name: str) -> None:
        """Remove a folder."""
        self._fs.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if self._root else name


@contextmanager
def write_archive(target: str) -> Iterator[Archive]:
    """The archive to write to; a zip file gets its name when the block ends well."""
    import fsspec
    from fsspec.implementations.zip import ZipFileSystem

    if not target.endswith(ZIP):
        file_system, root = fsspec.core.url_to_fs(target)
        if _is_local(target):
            Path(root).mkdir(parents=True, exist_ok=True, mode=0o700)
        yield Archive(file_system, str(root), growing=True)
        return
    partial = f"{target}.partial"
    try:
        with disk_full_explained(), fsspec.open(partial, "wb") as stream:
            if _is_local(target):
                Path(partial).chmod(0o600)
            with closing(ZipFileSystem(stream, mode="w", skip_instance_cache=True)) as packed:
                yield Archive(packed, "", growing=False)
        file_system, path = fsspec.core.url_to_fs(target)
        file_system.mv(partial, path)
    except BaseException:
        file_system, path = fsspec.core.url_to_fs(partial)
        with suppress(OSError):
            file_system.rm(path)
        raise


@contextmanager
def read_archive(source: str) -> Iterator[Archive]:
    """The archive to read from; raises BackupUnusable, also later, where it is damaged."""
    import fsspec

    try:
        if not source.endswith(ZIP):
            file_system, root = fsspec.core.url_to_fs(source)
            yield Archive(file_system, str(root), growing=True)
            return
        with fsspec.open(source, "rb") as stream, closing(_unpacked(source, stream)) as packed:
            yield Archive(packed, "", growing=False)
    except DAMAGED as error:
        raise _unusable(source, error) from error


def _unpacked(source: str, stream: BinaryIO) -> Any:
    """A zip file as a file system; raises BackupUnusable."""
    from fsspec.implementations.zip import ZipFileSystem

    with _damage_named(source):
        return ZipFileSystem(stream, mode="r", skip_instance_cache=True)


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """What zipfile raises where it opens bytes that are not what it wrote: BackupUnusable."""
    try:
        yield
    except (*DAMAGED, RuntimeError, ValueError, struct.error) as error:
        raise _unusable(name, error) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        raise _unusable(name, error) from error


def _unusable(name: str, error: Exception) -> BackupUnusable:
    return BackupUnusable(f"The backup is damaged: {name}: {error}. Use another backup.")


def _is_local(target: str) -> bool:
    return "://" not in target or target.startswith("file://")
