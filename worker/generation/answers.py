"""Interactive answers on their way out: updates of the engine become entries of Redis streams.

A thread of its own writes, so that a slow Redis never holds up the engine. The first text of a
request leaves at once, later text is gathered for a moment. The same round trip asks whether the
reader is still there; without one the request is stopped.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from worker.contracts import (
    ANY_WORKER_KEY,
    ChoiceDelta,
    GenerateRequest,
    StreamEntry,
    reader_key,
    stream_key,
    worker_key,
)
from worker.generation.engine_link import EngineLink, Update

LOG = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
RUNNING_EXPIRY = 3600  # of a stream, renewed with every write
ENDED_EXPIRY = 60
PULSE_SECONDS = 1.0
PULSE_EXPIRY = 5


@dataclass(slots=True)
class _Buffer:
    """Text of one request that has not left yet."""

    flushed: float = 0.0
    deltas: dict[int, ChoiceDelta] = field(default_factory=dict)  # one a choice, joined
    final: Update | None = None

    def add(self, update: Update) -> None:
        """Join what a step brought to what has not left yet."""
        for delta in update.deltas:
            before = self.deltas.get(delta.index)
            self.deltas[delta.index] = delta if before is None else _joined(before, delta)
        if update.last:
            self.final = update


class Answers:
    """Writes the answers of one generation worker; a sink for the engine's updates."""

    def __init__(self, connection: redis.Redis, link: EngineLink, worker: str) -> None:
        self._redis = connection
        self._link = link
        self._worker = worker
        self._news: queue.SimpleQueue[Sequence[Update] | None] = queue.SimpleQueue()
        self._buffers: dict[str, _Buffer] = {}
        self._thread = threading.Thread(target=self._write, name="answers", daemon=True)

    def start(self) -> None:
        """Begin to write, and to say that this worker lives."""
        self._pulse()
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Wait until every open request has ended, at most ``timeout`` seconds, then stop."""
        deadline = time.monotonic() + timeout
        while self._link.open_requests and time.monotonic() < deadline:
            time.sleep(0.05)
        self._news.put(None)
        self._thread.join(max(1.0, deadline - time.monotonic()))

    def accept(self, request: GenerateRequest, path: Path) -> None:
        """Take a request from the queue, unless its reader has gone already."""
        if not self._redis.exists(reader_key(request.id)):
            return
        self._add(request.id, StreamEntry(kind="accepted", worker=self._worker))
        self._link.submit(request, path, self, interactive=True)

    def refuse(self, request_id: str, error: dict[str, Any]) -> None:
        """End a request that cannot be run."""
        self._add(request_id, StreamEntry(kind="error", error=error))

    def take(self, updates: Sequence[Update]) -> None:
        """Called by the engine's reader thread; never blocks."""
        self._news.put(updates)

    def _add(self, request_id: str, entry: StreamEntry) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(stream_key(request_id), {"entry": _encode(entry)})
            pipe.expire(stream_key(request_id), ENDED_EXPIRY)
            pipe.execute()

    def _write(self) -> None:
        """The writer thread."""
        pulsed = 0.0
        while True:
            updates = self._next()
            if updates is None:
                return
            for update in updates:
                self._buffer(update)
            try:
                self._flush()
                if time.monotonic() - pulsed >= PULSE_SECONDS:
                    pulsed = time.monotonic()
                    self._forget_stopped()
                    self._pulse()
            except redis.RedisError as error:
                self._give_up(error)

    def _next(self) -> Sequence[Update] | None:
        """What came in; nothing after a moment; None to stop."""
        wait = GATHER_SECONDS if self._buffers else PULSE_SECONDS
        try:
            updates = self._news.get(timeout=wait)
            while updates is not None and not self._news.empty():
                more = self._news.get()
                if more is None:
                    return None
                updates = [*updates, *more]
        except queue.Empty:
            return ()
        return updates

    def _buffer(self, update: Update) -> None:
        self._buffers.setdefault(update.id, _Buffer()).add(update)

    def _flush(self) -> None:
        """Write what is due in one round trip, and look for readers that left."""
        now = time.monotonic()
        due = [
            request_id
            for request_id, buffer in self._buffers.items()
            if buffer.final is not None
            or (buffer.deltas and now - buffer.flushed >= GATHER_SECONDS)
        ]
        if not due:
            return
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in due:
                self._write_buffer(pipe, request_id, self._buffers[request_id])
                pipe.exists(reader_key(request_id))
            present = pipe.execute()[2::3]  # of the three replies for each: XADD, EXPIRE, EXISTS
        for request_id, reader in zip(due, present, strict=True):
            buffer = self._buffers[request_id]
            if buffer.final is not None:
                del self._buffers[request_id]
            elif not reader:
                self._link.cancel(request_id)
                del self._buffers[request_id]
            else:
                buffer.flushed, buffer.deltas = now, {}

    def _write_buffer(self, pipe: Any, request_id: str, buffer: _Buffer) -> None:
        """Queue the two commands that write one entry."""
        final, deltas = buffer.final, tuple(buffer.deltas.values())
        if final is None:
            entry = StreamEntry(kind="delta", deltas=deltas)
        elif final.error is None:
            entry = StreamEntry(kind="end", deltas=deltas, usage=final.usage)
        else:
            entry = StreamEntry(kind="error", deltas=deltas, error=final.error)
        pipe.xadd(stream_key(request_id), {"entry": _encode(entry)})
        pipe.expire(stream_key(request_id), RUNNING_EXPIRY if final is None else ENDED_EXPIRY)

    def _pulse(self) -> None:
        """Say that this worker lives, while its engine does."""
        if self._link.alive:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(worker_key(self._worker), "1", ex=PULSE_EXPIRY)
                pipe.set(ANY_WORKER_KEY, "1", ex=PULSE_EXPIRY)
                pipe.execute()

    def _forget_stopped(self) -> None:
        """Drop what a late update left behind of requests that were stopped."""
        self._buffers = {
            request_id: buffer
            for request_id, buffer in self._buffers.items()
            if buffer.deltas or buffer.final is not None or self._link.is_open(request_id)
        }

    def _give_up(self, error: redis.RedisError) -> None:
        """Redis is away: readers have noticed; stop their requests rather than pile up text."""
        LOG.warning("Redis does not answer (%s); %d answers dropped", error, len(self._buffers))
        for request_id in self._buffers:
            self._link.cancel(request_id)
        self._buffers.clear()


def _joined(first: ChoiceDelta, second: ChoiceDelta) -> ChoiceDelta:
    return ChoiceDelta(
        index=first.index,
        text=first.text + second.text,
        tokens=first.tokens + second.tokens,
        finish_reason=second.finish_reason,
        chances=second.chances,
        vector=second.vector,
        logprobs=first.logprobs + second.logprobs,
        mean_logprob=second.mean_logprob,
    )


def _encode(entry: StreamEntry) -> str:
    return entry.model_dump_json(exclude_defaults=True)
