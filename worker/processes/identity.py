"""Who a worker process is: a name that a restart finds again, and an incarnation that is new.

The name tells a restarted worker which leases its dead predecessor held; so it must never be
another living worker's. A lock on a file in a folder of this machine, freed by the kernel when
the process dies, keeps it apart from others of the folder, and a mark of the folder from those
of other folders and of machines that call themselves the same.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MOST_WORKERS = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """A name (host-mark-role-number), a random incarnation, and the lock held while we live."""

    name: str
    incarnation: str
    lock: IO[bytes]


def take_identity(folder: Path, role: str) -> Identity:
    """The first free name of this role on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    host = f"{socket.gethostname()}-{_mark(folder)}"
    for number in range(1, MOST_WORKERS):
        lock = (folder / f"{role}-{number}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return Identity(f"{host}-{role}-{number}", secrets.token_hex(8), lock)
    raise RuntimeError(f"{MOST_WORKERS} workers of the role {role!r} run on this machine already")


def _mark(folder: Path) -> str:
    """A few random letters that stay with the folder; made by whoever comes first."""
    path = folder / "mark"
    if not path.exists():
        own = folder / f"mark.{secrets.token_hex(8)}"
        own.write_text(secrets.token_hex(3))
        try:
            os.link(own, path)  # whole or not at all, and never in place of another
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text()
