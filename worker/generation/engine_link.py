"""The parent's side of the engine process: requests in, updates out, restarts in between.

Threads of the worker submit and cancel; one reader thread hands each report's updates to the
sinks. When the engine dies, every open request ends with the error ``worker_lost`` and a new
engine is started for the next one.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter

from worker.contracts import ChoiceDelta, GenerateRequest, Usage, decode_deltas, decode_usage
from worker.generation.running_engine import RunningEngine
from worker.metrics.exposition import to_text

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
    seconds: float = 0.0  # of the engine, for this request alone, since its last update

    @property
    def last(self) -> bool:
        """Whether nothing more comes for this request."""
        return self.usage is not None or self.error is not None


class Sink(Protocol):
    """Takes the updates of its requests; called from the reader thread, so it must not block."""

    def take(self, updates: Sequence[Update]) -> None:
        """Take what one step brought."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A request that an engine works on."""

    engine: RunningEngine
    sink: Sink


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
        weights: str = "float32",
        log_format: str = "text",
        traces: str = "off",
    ) -> None:
        self._options = json.dumps(
            {
                "device": device,
                "slots": slots,
                "cache_bytes": cache_bytes,
                "prefix_cache_bytes": prefix_cache_bytes,
                "weights": weights,
                "threads": threads,
                "log_format": log_format,
                "traces": traces,
            }
        )
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._engine: RunningEngine | None = None
        self._closed = False
        self.state = ""  # what the engine has said of itself last, encoded; empty: nothing yet
        self._metrics = ""  # the engine's last figures, in Prometheus' text format
        self._registry = CollectorRegistry()
        self._losses = Counter(
            "textgen_engine_losses",
            "Engine processes that ended by themselves; another one was started.",
            registry=self._registry,
        )

    def start(self) -> None:
        """Start the engine process now, so that the first request need not wait for it."""
        with self._lock:
            self._ensure_running()

    @property
    def alive(self) -> bool:
        """Whether an engine process is there to take requests."""
        engine = self._engine
        return engine is not None and engine.process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the engine."""
        return None if self._engine is None else self._engine.process.pid

    @property
    def open_requests(self) -> int:
        """Requests that have not ended."""
        return len(self._open)

    def metrics_text(self) -> str:
        """The engine's figures of a second ago, in Prometheus' text format."""
        return to_text([self._registry]) + self._metrics

    def is_open(self, request_id: str) -> bool:
        """Whether the engine still works on a request."""
        return request_id in self._open

    def submit(
        self, request: GenerateRequest, path: Path, sink: Sink, *, interactive: bool
    ) -> None:
        """Hand a request to the engine; its updates go to ``sink``, the last one always comes."""
        with self._lock:
            engine = self._ensure_running()
            if engine is not None:
                self._open[request.id] = _Open(engine, sink)
                engine.send("submit", request.model_dump(mode="json"), str(path), interactive)
        if engine is None:
            sink.take([Update(request.id, error=LOST)])

    def cancel(self, request_id: str) -> None:
        """Stop a request; no further update comes for it."""
        with self._lock:
            entry = self._open.pop(request_id, None)
            if entry is not None:
                entry.engine.send("cancel", request_id)

    def close(self) -> None:
        """End the engine process; open requests end with ``worker_lost``."""
        with self._lock:
            self._closed = True
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.process.kill()
            engine.process.wait()

    def _ensure_running(self) -> RunningEngine | None:
        """The engine, started unless one runs; None once closed. The lock is held."""
        if self._closed:
            return None
        if self.alive:
            return self._engine
        engine = self._engine = RunningEngine.start(self._options)
        threading.Thread(
            target=self._read, args=(engine,), name="engine-reader", daemon=True
        ).start()
        return engine

    def _read(self, engine: RunningEngine) -> None:
        """Hand on reports until the engine closes its end."""
        try:
            while True:
                told = json.loads(engine.connection.recv_bytes())
                if isinstance(told, dict):
                    self.state, self._metrics = told["state"], told["metrics"]
                else:
                    self._deliver(told)
        except (EOFError, OSError):
            code = engine.process.wait()
            engine.close()
        if not self._closed:
            self._losses.inc()
            LOG.error("the generation engine ended with status %s; starting another", code)
        self.state = ""
        self._end_open(engine)
        with self._lock:
            self._ensure_running()

    def _end_open(self, engine: RunningEngine) -> None:
        """Say of the requests of a dead engine that they are lost.

        Its successor may have some already, from a thread that saw the death before the reader.
        """
        with self._lock:
            lost = {name: entry for name, entry in self._open.items() if entry.engine is engine}
            for name in lost:
                del self._open[name]
        _hand_out((entry.sink, Update(name, error=LOST)) for name, entry in lost.items())

    def _deliver(self, reports: list[Any]) -> None:
        updates: list[tuple[Sink, Update]] = []
        with self._lock:
            for name, deltas, usage, error, seconds in reports:
                entry = self._open.get(name)
                if entry is None:
                    continue
                update = Update(name, decode_deltas(deltas), decode_usage(usage), error, seconds)
                updates.append((entry.sink, update))
                if update.last:
                    del self._open[name]
        _hand_out(updates)


def _hand_out(updates: Iterable[tuple[Sink, Update]]) -> None:
    """Give each sink all of its updates in one call."""
    grouped: dict[int, tuple[Sink, list[Update]]] = {}
    for sink, update in updates:
        grouped.setdefault(id(sink), (sink, []))[1].append(update)
    for sink, news in grouped.values():
        sink.take(news)
