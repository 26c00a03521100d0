"""Copies of files from remote storage on this machine's disk, bounded and shared by processes.

A copy lies under the SHA-256 of what it is of. Its time of access, which is set here and not by
reading, says when somebody asked for it last. The one that nobody has asked for longest leaves
first, and after a day every one, so that what was deleted in storage does not stay here for ever.

What is in use stays. Who uses a copy for long holds a shared lock on it, which ends with its
process, however that ends. Who was given a copy a moment ago may be about to open it, so one that
was asked for within ten minutes stays too. All of these together may be more than the bound.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from worker.storage.artifact_backends import make_folders

NOTED_SECONDS = 60.0  # how often that somebody asks is written down
FRESH_SECONDS = 600.0 + NOTED_SECONDS  # who was given a copy opens it before
UNUSED_SECONDS = 86_400.0
TEMPORARY = ".part"


@dataclass(frozen=True, slots=True)
class _Copy:
    path: Path
    size: int
    asked_at: float


class FileCache:
    """The copies in one folder. Safe to share between threads and processes.

    ``most_bytes``: None for no bound, where the folder goes with the process.
    """

    def __init__(self, folder: Path, most_bytes: int | None = None) -> None:
        self._folder = folder
        self._most = most_bytes

    def get(self, sha256: str, size: int, copy: Callable[[BinaryIO], object]) -> Path:
        """The copy of a file; where there is none ``copy`` writes it, raising what it likes.

        It stays for ten minutes at the least.
        """
        path = self._folder / sha256[:2] / sha256
        while not self.note_use(path):
            self.tidy(more=size)
            make_folders(path.parent)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=TEMPORARY)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    fcntl.flock(stream, fcntl.LOCK_SH)  # it is in use, however long this takes
                    copy(stream)
                    stream.flush()
                    with suppress(FileExistsError):  # who was quicker may be using theirs
                        os.link(temporary, path)
            finally:
                Path(temporary).unlink(missing_ok=True)
        return path

    def note_use(self, path: Path) -> bool:
        """Note that somebody asks for a copy; False where it is not there any more."""
        try:
            if _is_recent(path.stat().st_atime, NOTED_SECONDS):
                return True
            with path.open("rb") as stream:
                return _hold(stream)
        except FileNotFoundError:
            return False

    @contextmanager
    def held(self, path: Path) -> Iterator[bool]:
        """Keep a copy until the block ends; False where it is not there any more."""
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            yield False
            return
        with stream:
            yield _hold(stream)

    def drop(self, path: Path) -> None:
        """Forget a copy that is damaged, whoever uses it."""
        path.unlink(missing_ok=True)

    def tidy(self, more: int = 0) -> None:
        """Let go of what is over, until so many bytes more are within the bound."""
        if self._most is None:
            return
        copies = sorted(self._copies(), key=lambda each: each.asked_at)
        total = more + sum(each.size for each in copies)
        for each in copies:
            over = each.asked_at < time.time() - UNUSED_SECONDS
            if (over or total > self._most) and _leave(each.path):
                total -= each.size

    def _copies(self) -> Iterator[_Copy]:
        """Also those that died while they were written."""
        for folder in self._folder.glob("??"):
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    status = path.stat()
                    yield _Copy(path, status.st_size, status.st_atime)


def _hold(stream: BinaryIO) -> bool:
    """Lock a copy against leaving, as long as it is open, and note the time; False: it has left."""
    fcntl.flock(stream, fcntl.LOCK_SH)
    status = os.fstat(stream.fileno())
    if status.st_nlink == 0:
        return False
    # The time of writing stays: it says that the copy is the one that was compared.
    os.utime(stream.fileno(), ns=(time.time_ns(), status.st_mtime_ns))
    return True


def _leave(path: Path) -> bool:
    """Remove a copy that nobody uses; whether it is gone."""
    try:
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if _is_recent(os.fstat(stream.fileno()).st_atime, FRESH_SECONDS):
                return False
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return True


def _is_recent(moment: float, seconds: float) -> bool:
    """Also after the clock was set back."""
    return abs(time.time() - moment) < seconds
