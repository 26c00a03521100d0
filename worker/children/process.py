"""The parent's side of a child: one subprocess a job, lines of JSON both ways.

The child computes and nothing else. It knows no database and no Redis; it reads its order from
standard input, reports on standard output, and ends when the pipe from its parent closes.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from textgen.options import Options

LOG = logging.getLogger(__name__)

# Events that must be safe before the child goes on: the parent acknowledges them.
MADE_SAFE = frozenset(("plan", "checkpoint", "shard"))


class Order(Options):
    """What every child needs: where it may write, and what it may compute with."""

    folder: Path
    device: str = "auto"
    threads: int
    log_format: str = "text"
    about: dict[str, str] = Field(default_factory=dict)  # what its log lines are about


class ChildProcess:
    """A running child. Use as a context manager: leaving it kills what still runs.

    ``inherited`` are file descriptors that stay open as long as it lives.
    """

    def __init__(self, order: Order, module: str, inherited: Sequence[int] = ()) -> None:
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
        # A session of its own: Ctrl-C in a terminal reaches the parent, which then drains.
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            pass_fds=inherited,
        )
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="child-reader", daemon=True)
        self._reader.start()
        self.send(order.model_dump(mode="json"))

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            _close(pipe)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The next message; None once the child has ended. Raises queue.Empty after ``timeout``."""
        return self._messages.get(timeout=max(0.0, timeout))

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; a child that has died meanwhile is noticed by `receive`."""
        pipe = self._process.stdin
        try:
            if pipe is not None:
                pipe.write(json.dumps(message).encode() + b"\n")
                pipe.flush()
        except (BrokenPipeError, ValueError):
            return

    def kill(self) -> None:
        """End it at once, and what it started."""
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def exit_description(self) -> str:
        """How it ended, in words."""
        code = self._process.wait()
        if code >= 0:
            return f"exit status {code}"
        name = signal.Signals(-code).name
        hint = " (the kernel kills with it when memory runs out)" if code == -9 else ""
        return f"signal {name}{hint}"

    def _read(self) -> None:
        """Hand on each line as a message until the pipe closes; whatever happens, say that it is.

        A child that dies while it writes leaves half a line.
        """
        pipe = self._process.stdout
        try:
            for line in pipe or ():
                message = _message(line)
                if message is not None:
                    self._messages.put(message)
        finally:
            self._messages.put(None)


def _message(line: bytes) -> dict[str, Any] | None:
    """What a line says; None, and a line in the log, where it is no JSON object."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    LOG.warning("a child wrote %d bytes that are no message; they are passed over", len(line))
    return None


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        return
