"""One stack per home, held by a file lock that ends with its holders."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from textgen.errors import TextgenError

WARDEN_SECONDS = 12.0  # the warden of a killed supervisor may hold the lock for this long


class AlreadyRunning(TextgenError):
    """Another stack runs on this home."""

    default_code = "already_running"


class HomeLock:
    """Holds ``home/lock``; raises AlreadyRunning, naming URL and process, when it is taken."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock, waiting only for the remains of a killed stack."""
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.descriptor = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        give_up = time.monotonic() + WARDEN_SECONDS
        while not self._try():
            running = read_stack(self._home)
            if psutil.pid_exists(running.get("pid", -1)) or time.monotonic() > give_up:
                os.close(self.descriptor)
                raise AlreadyRunning(_sentence(self._home, running))
            time.sleep(0.1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go."""
        os.close(self.descriptor)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def stack_file(home: Path) -> Path:
    """Where a running stack says how to reach it."""
    return home / "stack.json"


def write_stack(home: Path, facts: dict[str, Any]) -> None:
    """Say how to reach the stack: base_url, pid, redis_port."""
    new = home / "stack.new"
    new.write_text(json.dumps(facts, indent=2) + "\n")
    new.replace(stack_file(home))


def read_stack(home: Path) -> dict[str, Any]:
    """What the running stack, or the last one, wrote; empty where there is nothing."""
    try:
        facts = json.loads(stack_file(home).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _sentence(home: Path, running: dict[str, Any]) -> str:
    if "base_url" not in running:
        return f"textgen is starting or running on {home} already."
    return (
        f"textgen is running on {home} already: {running['base_url']} "
        f"(process {running.get('pid')}). Use it, stop it with "
        f"`kill {running.get('pid')}`, or give this one a home of its own: TEXTGEN_HOME=…"
    )
