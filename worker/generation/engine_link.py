"""The parent's side of the engine process: requests in, updates out, restarts in between.

Threads of the worker submit and cancel; one reader thread hands each report's updates to the
sinks. When the engine dies, every open request ends with the error ``worker_lost`` and a new
engine is started for the next one.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from worker.contracts import ChoiceDelta, GenerateRequest, Usage

LOG = logging.getLogger(__name__)

LOST = {
    "code": "worker_lost",
    "message": "The generation engine died while it answered. Send the request again.",
    "param": None,
}


@dataclass(frozen=True, slots=True)
class Update:
    """News of one request; the last has a ``usage`` or an ``error``."""

    id: str
    deltas: tuple[ChoiceDelta, ...] = ()
    usage: Usage | None = None
    error: dict[str, Any] | None = None

    @property
    def last(self) -> bool:
        """Whether nothing more comes for this request."""
        return self.usage is not None or self.error is not None


class Sink(Protocol):
    """Takes the updates of its requests; called from the reader thread, so it must not block."""

    def take(self, updates: Sequence[Update]) -> None:
        """Take what one step brought."""


@dataclass(slots=True)
class _Open:
    """A request that an engine works on."""

    engine: Connection
    sink: Sink
    path: str
    choices: int
    n: int
    unfinished: int = field(init=False)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        self.unfinished = self.choices


class EngineLink:
    """Owns the engine process. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        device: str,
        slots: int,
        cache_bytes: int,
        threads: int,
        prefix_cache_bytes: int = 0,
    ) -> None:
        self._options = json.dumps(
            {
                "device": device,
                "slots": slots,
                "cache_bytes": cache_bytes,
                "prefix_cache_bytes": prefix_cache_bytes,
                "threads": threads,
            }
        )
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self) -> None:
        """Start the engine process now, so that the first request need not wait for it."""
        with self._lock:
            self._ensure_running()

    @property
    def alive(self) -> bool:
        """Whether an engine process is there to take requests."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the engine."""
        return None if self._process is None else self._process.pid

    @property
    def open_requests(self) -> int:
        """Requests that have not ended."""
        return len(self._open)

    def is_open(self, request_id: str) -> bool:
        """Whether the engine still works on a request."""
        return request_id in self._open

    def submit(
        self, request: GenerateRequest, path: Path, sink: Sink, *, interactive: bool
    ) -> None:
        """Hand a request to the engine; its updates go to ``sink``, the last one always comes."""
        choices = len(request.prompts) * request.n
        command = {
            "op": "submit",
            "request": request.model_dump(mode="json"),
            "path": str(path),
            "interactive": interactive,
        }
        with self._lock:
            engine = self._ensure_running()
            if engine is None:
                sink.take([Update(request.id, error=LOST)])
                return
            self._open[request.id] = _Open(engine, sink, str(path), choices, request.n)
            _send(engine, command)

    def cancel(self, request_id: str) -> None:
        """Stop a request; no further update comes for it."""
        with self._lock:
            entry = self._open.pop(request_id, None)
            if entry is not None:
                command = {
                    "op": "cancel",
                    "id": request_id,
                    "choices": entry.choices,
                    "path": entry.path,
                }
                _send(entry.engine, command)

    def close(self) -> None:
        """End the engine process; open requests end with ``worker_lost``."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _ensure_running(self) -> Connection | None:
        """The way to the engine, started unless one runs; None once closed. The lock is held."""
        if self._closed:
            return None
        if self.alive:
            return self._connection
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [
                    sys.executable,
                    "-m",
                    "worker.generation.engine_process",
                    str(theirs.fileno()),
                    self._options,
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
        connection = self._connection = Connection(ours.detach())
        threading.Thread(
            target=self._read, args=(connection, self._process), name="engine-reader", daemon=True
        ).start()
        return connection

    def _read(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        """Hand on reports until the engine closes its end."""
        try:
            while True:
                self._deliver(json.loads(connection.recv_bytes()))
        except (EOFError, OSError):
            code = process.wait()
            connection.close()
        if not self._closed:
            LOG.error("the generation engine ended with status %s; starting another", code)
        self._end_open(connection)
        with self._lock:
            self._ensure_running()

    def _end_open(self, engine: Connection) -> None:
        """Say of the requests of a dead engine that they are lost.

        Its successor may have some already, from a thread that saw the death before the reader.
        """
        with self._lock:
            lost = {name: entry for name, entry in self._open.items() if entry.engine is engine}
            for name in lost:
                del self._open[name]
        _hand_out((entry.sink, Update(name, error=LOST)) for name, entry in lost.items())

    def _deliver(self, report: dict[str, Any]) -> None:
        updates: list[tuple[Sink, Update]] = []
        with self._lock:
            for request_id, rows in _by_request(report["deltas"]).items():
                entry = self._open.get(request_id)
                if entry is not None:
                    updates.append((entry.sink, self._note(request_id, entry, rows)))
            for request_id, error in report["errors"]:
                entry = self._open.pop(request_id, None)
                if entry is not None:
                    updates.append((entry.sink, Update(request_id, error=error)))
        _hand_out(updates)

    def _note(self, request_id: str, entry: _Open, rows: list[Any]) -> Update:
        """Count tokens and ends; the lock is held."""
        deltas = []
        for index, text, tokens, reason, prompt_tokens, *results in rows:
            entry.completion_tokens += tokens
            if reason is not None:
                entry.unfinished -= 1
                if index % entry.n == 0:  # a prompt counts once, however many choices it has
                    entry.prompt_tokens += prompt_tokens
            delta = {"index": index, "text": text, "tokens": tokens, "finish_reason": reason}
            for found in results:  # what a task gives beside text, by the names of ChoiceDelta
                delta |= found
            deltas.append(ChoiceDelta.model_validate(delta))
        if entry.unfinished:
            return Update(request_id, tuple(deltas))
        del self._open[request_id]
        usage = Usage(prompt_tokens=entry.prompt_tokens, completion_tokens=entry.completion_tokens)
        return Update(request_id, tuple(deltas), usage)


def _send(engine: Connection, command: dict[str, Any]) -> None:
    """Send with the lock held; a dead engine is noticed by its reader."""
    try:
        engine.send_bytes(json.dumps(command).encode())
    except OSError:
        return


def _by_request(deltas: list[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for request_id, *row in deltas:
        grouped.setdefault(request_id, []).append(row)
    return grouped


def _hand_out(updates: Any) -> None:
    """Give each sink all of its updates in one call."""
    grouped: dict[int, tuple[Sink, list[Update]]] = {}
    for sink, update in updates:
        grouped.setdefault(id(sink), (sink, []))[1].append(update)
    for sink, news in grouped.values():
        sink.take(news)
