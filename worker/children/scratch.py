"""Where a child may write: a folder of this machine, for one child at a time.

It is kept while its job lives, so that a training which goes on here finds its encoded corpus.
Whoever works in it holds a lock, and so does the child, as long as it lives: a worker that was
stopped and goes on, although its job has gone to another on this machine, shares no file with it.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

LOCK = "lock"
JOBS = "jobs"


class Scratch:
    """The folder of one claim of a job, locked until `close`."""

    def __init__(self, root: Path, job_id: str, token: int) -> None:
        for name in (job_id, f"{job_id}.{token}"):
            folder = root / JOBS / name
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
            if lock is not None:
                self.folder, self._lock = folder, lock
                return
        raise BlockingIOError(f"{folder} is used by another process although it is ours")

    def fileno(self) -> int:
        """The lock, for a child to inherit."""
        return self._lock.fileno()

    def close(self) -> None:
        """Let go of it; a child that still lives keeps it locked."""
        self._lock.close()

    def remove(self) -> None:
        """Nothing here is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_stale(root: Path, is_live: Callable[[str], bool]) -> int:
    """Remove folders that no process uses and whose job has ended; returns how many went."""
    removed = 0
    for folder in sorted((root / JOBS).glob("*")):
        job_id, _, token = folder.name.partition(".")
        lock = _lock(folder)
        if lock is None:
            continue
        with lock:
            if token or not is_live(job_id):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def _lock(folder: Path) -> IO[bytes] | None:
    """The folder's lock, or None while another process holds it."""
    lock = (folder / LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
