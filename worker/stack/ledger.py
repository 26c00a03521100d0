"""Which processes a supervisor has started, on disk, so that none outlives it.

Written by the supervisor after each start and end. Read by the warden when the supervisor is
gone, and by the next start, should both have been killed.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STARTED_FIELD = 22 - 3  # of /proc/PID/stat, counted from the third, which follows the name
SAME_START_SECONDS = 5.0  # a later process under the same number started at another time


@dataclass(frozen=True)
class Entry:
    """A started process, the leader of its own group; ``started`` in seconds since 1970.

    ``identity`` says which boot and which tick of it the process started at, where the system
    tells: the time since 1970 is another one once the clock was set.
    """

    name: str
    pid: int
    started: float
    identity: str = ""


def write_ledger(path: Path, entries: Iterable[Entry]) -> None:
    """Replace the ledger in one step."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps([asdict(entry) for entry in entries]))
    new.replace(path)


def read_ledger(path: Path) -> list[Entry]:
    """What the ledger says; empty where there is none or it cannot be read."""
    try:
        return [Entry(**item) for item in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def entry_of(name: str, pid: int) -> Entry:
    """The entry of a process just started (one that is gone already started now)."""
    try:
        return Entry(name, pid, psutil.Process(pid).create_time(), _identity(pid))
    except psutil.NoSuchProcess:
        return Entry(name, pid, 0.0)


def sweep(path: Path, wait_seconds: float = 10.0) -> list[Entry]:
    """Kill every process group of the ledger that still runs, wait until they are gone.

    Returns those that were killed; the ledger is empty afterwards.
    """
    killed, waiting = [], []
    for entry in read_ledger(path):
        process = _process(entry.pid)
        if process is not None and not _is_same(process, entry):
            continue  # the number belongs to a stranger by now
        if kill_group(entry.pid):
            killed.append(entry)
            if process is not None:
                waiting.append(process)
    psutil.wait_procs(waiting, timeout=wait_seconds)
    write_ledger(path, [])
    return killed


def kill_group(pid: int, number: int = signal.SIGKILL) -> bool:
    """Signal the group that ``pid`` leads or led; False when nothing of it is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
        return True
    return False


def _process(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def _identity(pid: int) -> str:
    """The boot, and the tick since it that the process started at; empty where /proc has none."""
    try:
        boot = BOOT_ID.read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{boot} {int(fields[STARTED_FIELD])}"
    except (OSError, IndexError, ValueError):
        return ""


def _is_same(process: psutil.Process, entry: Entry) -> bool:
    if entry.identity:
        return _identity(process.pid) == entry.identity
    try:
        return abs(process.create_time() - entry.started) < SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False
