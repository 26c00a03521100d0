"""Interactive answers on their way out: updates of the engine become entries of Redis streams.

All answers for one reading process leave on one stream, in one message for each report of the
engine; one that is wanted whole leaves at its end. A thread of its own writes, so that a slow Redis
never holds up the engine; another one hears which requests are to be stopped. When a reading
process is gone, so is its work.
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

from worker.contracts import ChoiceDelta, GenerateRequest, StreamEntry, encode_entries
from worker.generation.engine_link import LOST, EngineLink, Update
from worker.generation.gathering import pause
from worker.redis_keys import (
    ANY_WORKER_KEY,
    answers_key,
    reader_key,
    stopped_key,
    stops_key,
    worker_key,
)
from worker.usage.interactive import InteractiveMeter

LOG = logging.getLogger(__name__)

MOST_MESSAGES = 20_000  # that a stream keeps; its reader takes them away as it reads
ANSWERS_EXPIRY = 60  # of a stream, renewed with every message
PULSE_SECONDS = 1.0
PULSE_EXPIRY = 5
LISTEN_SECONDS = 0.5  # between two looks whether to go on
AWAY_SECONDS = 0.5  # between two tries to reach Redis

_News = tuple[str, str, StreamEntry]  # reader, request id, entry


@dataclass(slots=True)
class _Open:
    """A request that is answered to ``reader``, and what of a whole answer is there already."""

    reader: str
    stream: bool
    held: list[ChoiceDelta] = field(default_factory=list)


class Answers:
    """Writes the answers of one generation worker; a sink for the engine's updates."""

    def __init__(
        self, connection: redis.Redis, link: EngineLink, worker: str, meter: InteractiveMeter
    ) -> None:
        self._redis = connection
        self._meter = meter
        self._link = link
        self._worker = worker
        self._news: queue.SimpleQueue[Sequence[_News] | None] = queue.SimpleQueue()
        self._open: dict[str, _Open] = {}  # by request id
        self._lost: list[_News] = []  # the ends of what could not be sent
        self._last = False  # whether nothing more is to come
        self._messages = 0  # sent, to any reader
        self._stopping = threading.Event()
        self._writer = threading.Thread(target=self._write, name="answers", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="stops", daemon=True)

    def start(self) -> None:
        """Begin to write, and to say that this worker lives."""
        self._pulse()
        self._writer.start()
        self._listener.start()

    def stop(self, timeout: float) -> None:
        """Wait until every open request has ended, at most ``timeout`` seconds, then stop."""
        deadline = time.monotonic() + timeout
        while self._open and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopping.set()
        self._news.put(None)
        self._writer.join(max(1.0, deadline - time.monotonic()))
        self._listener.join(2 * LISTEN_SECONDS)

    def accept(self, request: GenerateRequest, path: Path) -> None:
        """Take a request from the queue, unless its reader has gone already."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.exists(reader_key(request.reader))
                pipe.getdel(stopped_key(request.id))
                there, stopped = pipe.execute()
        except redis.RedisError as error:
            LOG.warning("Redis does not answer (%s); %s is not begun", error, request.id)
            self.refuse(request, LOST)
            return
        if stopped or not there:
            return
        self._open[request.id] = _Open(request.reader, request.stream)
        accepted = StreamEntry("accepted", self._worker)
        self._news.put([(request.reader, request.id, accepted)])
        self._meter.begin(request)
        self._link.submit(request, path, self, interactive=True)

    def refuse(self, request: GenerateRequest, error: dict[str, Any]) -> None:
        """End a request that cannot be run."""
        self._news.put([(request.reader, request.id, StreamEntry("error", error=error))])

    def take(self, updates: Sequence[Update]) -> None:
        """Called by the engine's reader thread; never blocks."""
        self._meter.take(updates)
        news, ended = [], []
        for update in updates:
            entry = self._open.get(update.id)
            if entry is None:
                continue
            if update.last:
                ended.append(update.id)
            elif not entry.stream:
                entry.held.extend(update.deltas)
                continue
            news.append((entry.reader, update.id, _entry(update, self._worker, entry.held)))
        if news:
            self._news.put(news)
        for request_id in ended:  # only now, or `stop` might not wait for their news
            self._open.pop(request_id, None)

    def _write(self) -> None:
        """The writer thread."""
        pulsed = sent = 0.0
        while (news := self._next(sent)) is not None:
            try:
                if news:
                    self._send(news)
                    news, sent = (), time.monotonic()
                if time.monotonic() - pulsed >= PULSE_SECONDS:
                    pulsed = time.monotonic()
                    self._pulse()
                    self._stop_unread()
            except redis.RedisError as error:
                self._give_up(news, error)

    def _next(self, sent: float) -> Sequence[_News] | None:
        """What came in; nothing after a moment; None to stop. ``sent``: when something was last."""
        if self._last:
            return None
        news, self._lost = self._lost, []
        try:
            came = self._news.get(timeout=PULSE_SECONDS)
            time.sleep(max(0.0, sent + pause(len(self._open)) - time.monotonic()))
            while came is not None:
                news = [*news, *came]
                came = self._news.get_nowait()
            self._last = True
        except queue.Empty:
            pass
        return news

    def _send(self, news: Sequence[_News]) -> None:
        """One message to each reader, in one round trip.

        A connection that breaks sends them again; by their numbers a reader knows them.
        """
        messages: dict[str, list[tuple[str, StreamEntry]]] = {}
        for reader, request_id, entry in news:
            messages.setdefault(reader, []).append((request_id, entry))
        with self._redis.pipeline(transaction=False) as pipe:
            for reader, entries in messages.items():
                key = answers_key(reader)
                self._messages += 1
                fields: Any = {
                    "worker": self._worker,
                    "number": self._messages,
                    "entries": encode_entries(entries),
                }
                pipe.xadd(key, fields, maxlen=MOST_MESSAGES, approximate=True)
                pipe.expire(key, ANSWERS_EXPIRY)
            pipe.execute()

    def _pulse(self) -> None:
        """Say that this worker lives, while its engine does, and how that is."""
        if self._link.alive:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(worker_key(self._worker), self._link.state or "{}", ex=PULSE_EXPIRY)
                pipe.set(ANY_WORKER_KEY, "1", ex=PULSE_EXPIRY)
                pipe.execute()

    def _stop_unread(self) -> None:
        """Stop the requests whose reading process is gone."""
        requests = list(self._open.items())
        readers = sorted({each.reader for _, each in requests})
        with self._redis.pipeline(transaction=False) as pipe:
            for reader in readers:
                pipe.exists(reader_key(reader))
            alive = pipe.execute()
        gone = {reader for reader, there in zip(readers, alive, strict=True) if not there}
        for request_id, each in requests:
            if each.reader in gone:
                self._stop(request_id)

    def _stop(self, request_id: str) -> None:
        if self._open.pop(request_id, None) is not None:
            self._link.cancel(request_id)
            self._meter.forget(request_id)

    def _give_up(self, news: Sequence[_News], error: redis.RedisError) -> None:
        """Redis is away: stop all requests rather than pile up text, and end them once it is back.

        ``news`` could not be sent, at least not for sure.
        """
        requests = {name: each.reader for name, each in list(self._open.items())}
        LOG.warning("Redis does not answer (%s); %d answers dropped", error, len(requests))
        for request_id in requests:
            self._stop(request_id)
        requests |= {request_id: reader for reader, request_id, _ in news}
        lost = StreamEntry("error", self._worker, error=LOST)
        self._lost = [(reader, request_id, lost) for request_id, reader in requests.items()]

    def _listen(self) -> None:
        """The thread that hears which requests are to be stopped."""
        key, last = stops_key(self._worker), "0"
        while not self._stopping.is_set():
            try:
                reply: Any = self._redis.xread(
                    {key: last}, count=1000, block=int(1000 * LISTEN_SECONDS)
                )
            except redis.RedisError:
                time.sleep(AWAY_SECONDS)  # what is stopped meanwhile, the writer gives up
                continue
            for _, messages in reply:
                for last, fields in messages:  # noqa: B007 (the last one is where to go on)
                    self._stop(fields["request"])


def _entry(update: Update, worker: str, before: Sequence[ChoiceDelta]) -> StreamEntry:
    """An update, with what was held back ``before`` it."""
    deltas = (*before, *update.deltas)
    if update.error is not None:
        return StreamEntry("error", worker, deltas, error=update.error)
    kind: Any = "delta" if update.usage is None else "end"
    return StreamEntry(kind, worker, deltas, update.usage)
