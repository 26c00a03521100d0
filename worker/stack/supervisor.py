"""Keeps a few processes running: starts them, logs what they write, restarts what ends.

One thread and one loop: `Supervisor.turn` does whatever is due and returns. Each process leads
a group of its own, so that Ctrl-C in a terminal reaches the supervisor alone, and its children
can be ended with it. Should the supervisor be killed, `worker.stack.warden` ends them all.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from worker.stack.ledger import Entry, entry_of, kill_group, write_ledger
from worker.stack.process_output import Lines, Log

TURN_SECONDS = 0.2  # the longest one turn waits for something to happen
PIECE = 65_536  # bytes read from a process at once


@dataclass(frozen=True)
class Program:
    """What to run; ``environment`` is the whole environment of the process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Backoff:
    """Seconds before a restart: doubling from first to last, from the start after a good run."""

    first: float = 0.5
    last: float = 30.0
    good_run: float = 30.0

    def delay(self, failures: int) -> float:
        """The wait before the restart after so many failures in a row (at least 1)."""
        return float(min(self.last, self.first * 2.0 ** min(failures - 1, 30)))


@dataclass
class Child:
    """A program and the process that runs it just now, if any."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    entry: Entry | None = None
    lines: Lines = field(default_factory=Lines)
    started: float = 0.0
    failures: int = 0
    restart_at: float | None = None
    stopping: bool = False

    @property
    def running(self) -> bool:
        """True while its process has not been seen to end."""
        return self.process is not None


class Supervisor:
    """Runs programs until they are drained. Use as a context manager; not from threads.

    ``inherited`` are file descriptors that the warden keeps open until it has swept.
    """

    def __init__(
        self,
        ledger: Path,
        log: Log,
        *,
        backoff: Backoff | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        self.children: dict[str, Child] = {}
        self._ledger = ledger
        self._log = log
        self._backoff = Backoff() if backoff is None else backoff
        self._inherited = tuple(inherited)
        self._selector = selectors.DefaultSelector()
        self._warden: subprocess.Popen[bytes] | None = None
        self._recorded = True  # whether the ledger says what runs

    def __enter__(self) -> Supervisor:
        """Start the warden before anything that it has to watch."""
        write_ledger(self._ledger, [])
        self._warden = self._start_warden()
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever still runs, then the warden."""
        for child in self.children.values():
            if child.process is not None:
                kill_group(child.process.pid)
                child.process.wait()
                self._ended(child)
        self._record()
        self._selector.close()
        if self._warden is not None:
            self._close_warden(self._warden)

    def start(self, program: Program) -> None:
        """Run ``program`` from now on."""
        child = Child(program)
        self.children[program.name] = child
        self._launch(child)

    def turn(self, seconds: float = TURN_SECONDS) -> None:
        """Log what was written, notice ends, restart what is due; wait ``seconds`` at most."""
        for key, _ in self._selector.select(seconds):
            self._read(key.data, key.fileobj)  # type: ignore[arg-type]
        now = time.monotonic()
        for child in list(self.children.values()):
            if child.process is not None and child.process.poll() is not None:
                self._after_end(child, child.process.returncode, now)
            elif child.restart_at is not None and now >= child.restart_at:
                self._launch(child)
        if self._warden is not None and self._warden.poll() is not None:
            self._replace_warden(self._warden)
        if not self._recorded:
            self._record()

    def drain(
        self, names: Sequence[str], seconds: float, hurry: Callable[[], bool] = lambda: False
    ) -> list[str]:
        """End these with SIGTERM, all at once; kill what is left after ``seconds`` or a hurry.

        Returns the names of those that had to be killed.
        """
        children = [self.children[name] for name in names if name in self.children]
        for child in children:
            child.stopping, child.restart_at = True, None
            if child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(child.running for child in children):
            if time.monotonic() > deadline or hurry():
                break
            self.turn()
        killed = [child for child in children if child.process is not None]
        for child in killed:
            self._kill(child)
        return [child.program.name for child in killed]

    def _launch(self, child: Child) -> None:
        child.restart_at = None
        child.started = time.monotonic()
        child.lines = Lines()
        try:
            process = subprocess.Popen(  # noqa: S603  our own programs, no shell
                child.program.command,
                env=dict(child.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._log.write(child.program.name, f"cannot be started: {error}")
            self._fail(child, child.started)
            return
        child.process = process
        child.entry = entry_of(child.program.name, process.pid)
        self._record()
        output = _output(process)
        os.set_blocking(output.fileno(), False)
        self._selector.register(output, selectors.EVENT_READ, child)

    def _read(self, child: Child, output: IO[bytes]) -> bool:
        """Log what can be read now; False when there was nothing."""
        try:
            piece = os.read(output.fileno(), PIECE)
        except BlockingIOError:
            return False
        if not piece:
            self._selector.unregister(output)
            return False
        for line in child.lines.push(piece):
            self._log.write(child.program.name, line)
        return True

    def _after_end(self, child: Child, code: int, now: float) -> None:
        self._ended(child)
        self._record()
        if child.stopping:
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if now - child.started >= self._backoff.good_run:
            child.failures = 0
        wait = self._fail(child, now)
        self._log.write(child.program.name, f"ended ({how}); starts again in {wait:g} s")

    def _fail(self, child: Child, now: float) -> float:
        child.failures += 1
        wait = self._backoff.delay(child.failures)
        child.restart_at = now + wait
        return wait

    def _kill(self, child: Child) -> None:
        if child.process is not None:
            kill_group(child.process.pid)
            child.process.wait()
            self._ended(child)
            self._record()

    def _ended(self, child: Child) -> None:
        """Tidy up behind a process that is gone, its own children included."""
        process, child.process, child.entry = child.process, None, None
        if process is None:
            return
        kill_group(process.pid)
        output = _output(process)
        if output in self._selector.get_map():
            while self._read(child, output):
                pass
            if output in self._selector.get_map():
                self._selector.unregister(output)
        output.close()
        for line in child.lines.finish():
            self._log.write(child.program.name, line)

    def _record(self) -> None:
        """Write the ledger; where that fails, as on a full disk, each turn tries again."""
        entries = [child.entry for child in self.children.values() if child.entry is not None]
        try:
            write_ledger(self._ledger, entries)
        except OSError as error:
            if self._recorded:
                self._log.write("up", f"cannot write {self._ledger}: {error}; it is tried again")
            self._recorded = False
        else:
            self._recorded = True

    def _start_warden(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  as above
            (sys.executable, "-m", "worker.stack.warden", str(self._ledger)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._inherited,
        )

    def _replace_warden(self, dead: subprocess.Popen[bytes]) -> None:
        self._close_warden(dead)
        with suppress(OSError):  # no memory for it, say: the next turn tries again
            self._warden = self._start_warden()

    @staticmethod
    def _close_warden(warden: subprocess.Popen[bytes]) -> None:
        if warden.stdin is not None:
            warden.stdin.close()
        warden.wait()


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:  # pragma: no cover  (stdout=PIPE always gives one)
        raise RuntimeError("the process was started without a pipe")
    return process.stdout
