"""An engine process, and what is on its way to it."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any, Self


class RunningEngine:
    """A process and the connection to it.

    A thread of its own sends, everything that has come together as one message, so that nobody
    who submits waits for an engine in the middle of a step.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process = process
        self.connection = connection
        self._commands: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="engine-writer", daemon=True)
        self._writer.start()

    @classmethod
    def start(cls, options: str) -> Self:
        """Start a process with these options, in JSON."""
        ours, theirs = socket.socketpair()
        with theirs:
            number = str(theirs.fileno())
            process = subprocess.Popen(  # noqa: S603 (our own module)
                [sys.executable, "-m", "worker.generation.engine_process", number, options],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            )
        return cls(process, Connection(ours.detach()))

    def send(self, *command: Any) -> None:
        """Send in the order of the calls; nothing happens when the engine is dead."""
        self._commands.put(list(command))

    def close(self) -> None:
        """Send nothing more to an engine that is dead."""
        self._commands.put(None)
        self._writer.join()
        self.connection.close()

    def _write(self) -> None:
        while True:
            commands = [self._commands.get()]
            while not self._commands.empty():
                commands.append(self._commands.get())
            if None in commands:
                return
            try:
                self.connection.send_bytes(json.dumps(commands).encode())
            except OSError:
                return  # its reader notices the death
