"""Who a worker process is: a name that a restart finds again, and an incarnation that is new.

The name tells a restarted worker which leases its dead predecessor held; so it must never be
another living worker's. A lock on a file of this machine, freed by the kernel when the process
dies, keeps it apart.
"""

from __future__ import annotations

import fcntl
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MOST_WORKERS = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """A name (host-role-number), a random incarnation, and the lock that we hold while we live."""

    name: str
    incarnation: str
    lock: IO[bytes]


def take_identity(folder: Path, role: str) -> Identity:
    """The first free name of this role on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST_WORKERS):
        lock = (folder / f"{role}-{number}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return Identity(f"{socket.gethostname()}-{role}-{number}", secrets.token_hex(8), lock)
    raise RuntimeError(f"{MOST_WORKERS} workers of the role {role!r} run on this machine already")
