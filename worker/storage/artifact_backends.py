"""Where the bytes of artifacts lie: what any storage must do, and a folder of this machine.

A storage publishes a finished local folder under a name, all or nothing, and raises
FileNotFoundError for what is not there. An artifact exists exactly when its manifest does.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

MANIFEST = "manifest.json"
BAD_MANIFEST = "manifest.bad.json"
MANIFESTS = frozenset((MANIFEST, BAD_MANIFEST))
STAGING = ".staging"


class StorageAway(OSError):
    """Storage elsewhere does not answer, or does not do what it is asked to."""


class Backend(ABC):
    """Storage of published folders."""

    staging: Path  # where folders are prepared; on the same file system where there is one

    @abstractmethod
    def publish(self, folder: Path, name: str) -> None:
        """Move the folder to its name; afterwards it is complete or not there at all.

        Raises FileExistsError when the name is taken: artifacts never change.
        """

    @abstractmethod
    def open(self, name: str, file: str) -> BinaryIO:
        """A file for reading from its start."""

    @abstractmethod
    def path(self, name: str, file: str) -> Path | None:
        """Where the file lies on this machine, or None when it would have to be fetched."""

    @abstractmethod
    def rename(self, name: str, file: str, to: str) -> None:
        """Rename a file within an artifact."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove the artifact, its manifest first; nothing happens when it is not there."""

    @abstractmethod
    def list(self, prefix: str, manifest: str = MANIFEST) -> Iterator[tuple[str, float]]:
        """Names of the artifacts at and under a folder with such a manifest, and its time."""

    @abstractmethod
    def unfinished(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Names of folders under one that have files and no manifest, with their newest write."""

    def remove_empty_folders(self, prefix: str, before: float) -> None:  # noqa: B027
        """Remove empty folders under a folder that last changed before; most storage has none."""

    @abstractmethod
    def free_bytes(self) -> int:
        """Space that is left; a very large number where storage has no bound."""


class LocalBackend(Backend):
    """A folder of this machine: everything is on the disk before it gets its name."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.staging = self._root / STAGING

    @override
    def publish(self, folder: Path, name: str) -> None:
        target = self._root / name
        sync_folder(folder)
        while True:
            try:
                make_folders(target.parent)
                folder.rename(target)
                break
            except FileNotFoundError:
                if not folder.exists():
                    raise
                # else the parent, which was empty, has just been removed
            except OSError as error:
                if target.exists():
                    raise FileExistsError(f"artifact {name} exists already") from error
                raise
        sync_folder(target.parent)

    @override
    def open(self, name: str, file: str) -> BinaryIO:
        return (self._root / name / file).open("rb")

    @override
    def path(self, name: str, file: str) -> Path | None:
        return self._root / name / file

    @override
    def rename(self, name: str, file: str, to: str) -> None:
        folder = self._root / name
        (folder / file).rename(folder / to)
        sync_folder(folder)

    @override
    def delete(self, name: str) -> None:
        folder = self._root / name
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    @override
    def list(self, prefix: str, manifest: str = MANIFEST) -> Iterator[tuple[str, float]]:
        for folder, folders, files in os.walk(self._root / prefix):
            folders[:] = sorted(child for child in folders if child != STAGING)
            if manifest in files:
                path = Path(folder)
                made = newest_write([path / manifest])
                if made is not None:  # else it was deleted meanwhile
                    yield path.relative_to(self._root).as_posix(), made

    @override
    def unfinished(self, prefix: str) -> Iterator[tuple[str, float]]:
        for folder, _, files in os.walk(self._root / prefix):
            if files and not MANIFESTS & set(files):
                path = Path(folder)
                written = newest_write([path, *(path / file for file in files)])
                if written is not None:
                    yield path.relative_to(self._root).as_posix(), written

    @override
    def remove_empty_folders(self, prefix: str, before: float) -> None:
        top = self._root / prefix
        for name, _, _ in os.walk(top, topdown=False):
            folder = Path(name)
            with suppress(OSError):  # it is not empty, or gone
                if folder != top and folder.stat().st_mtime < before:
                    folder.rmdir()

    @override
    def free_bytes(self) -> int:
        make_folders(self._root)
        return shutil.disk_usage(self._root).free


def newest_write(paths: Iterable[Path]) -> float | None:
    """When one of these was last written to; None when none of them is there any more."""
    times = []
    for path in paths:
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times, default=None)


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, each safe on the disk."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
