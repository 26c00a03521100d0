"""All answers for one process, read by one thread and handed to those who wait for them.

However many requests are open, there is one Redis stream, one connection and one look a second at
the workers behind them.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import redis

from worker.contracts import StreamEntry, decode_entries
from worker.errors import BrokerUnavailable, NoWorker, Unavailable, WorkerLost
from worker.redis_keys import (
    ANY_WORKER_KEY,
    answers_key,
    reader_key,
    stopped_key,
    stops_key,
    worker_key,
)

READER_SECONDS = 15  # a process that is gone this long has its requests stopped
RENEW_SECONDS = 5.0
WATCH_SECONDS = 1.0  # between two looks at the workers
BLOCK_SECONDS = 0.5
TRIM_SECONDS = 0.5  # between two removals of what was read
LINGER_SECONDS = 3.0  # that the mailbox is read on when nobody expects an answer any more
AWAY_SECONDS = 0.2  # between two tries to reach Redis
NO_WORKER_SECONDS = 3.0  # with no generation worker alive at all, wait no longer than this
MOST_STOPS = 10_000  # that a worker's stream keeps
STOPS_EXPIRY = 60
MOST_WORKERS = 1000  # whose last messages are remembered


@dataclass(slots=True)
class _Slot:
    """A request whose answer someone waits for."""

    began: float
    news: queue.SimpleQueue[StreamEntry | Unavailable | None] = field(
        default_factory=queue.SimpleQueue
    )
    worker: str = ""  # who has taken it
    ended: bool = False


class Mailbox:
    """The answers to the requests of this process. Safe to share between threads."""

    def __init__(self, connection: redis.Redis, timeout: float) -> None:
        self.name = secrets.token_hex(8)
        self._redis = connection
        self._timeout = timeout
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._wanted = threading.Event()  # whether anyone waits
        self._thread: threading.Thread | None = None
        self._renewed = float("-inf")  # when others were last told that this process lives
        self._watched = 0.0
        self._trimmed = (0.0, "0")  # when what was read was last taken away, and up to where
        self._numbers: dict[str, int] = {}  # of the last message from each worker
        self._closed = 0.0  # when an answer was last no longer expected

    def open(self, request_id: str) -> None:
        """Expect an answer; raises BrokerUnavailable when Redis is away."""
        try:
            self._renew()
        except (redis.RedisError, OSError) as error:
            raise BrokerUnavailable(
                f"Redis does not answer: {error}. Try again shortly."
            ) from error
        with self._lock:
            self._slots[request_id] = _Slot(time.monotonic())
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mailbox", daemon=True)
                self._thread.start()

    def next(self, request_id: str, seconds: float) -> StreamEntry | None:
        """The next entry; None after so many seconds without, or when nudged.

        Raises NoWorker, WorkerLost or BrokerUnavailable when there will be none.
        """
        try:
            found = self._slots[request_id].news.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(found, Unavailable):
            raise found
        return found

    def nudge(self, request_id: str) -> None:
        """Have `next` return."""
        slot = self._slots.get(request_id)
        if slot is not None:
            slot.news.put(None)

    def close(self, request_id: str) -> None:
        """Expect nothing more; a request that has not ended is stopped."""
        with self._lock:
            slot = self._slots.pop(request_id, None)
            self._closed = time.monotonic()
        if slot is not None and not slot.ended:
            self._stop(request_id, slot.worker)

    def _stop(self, request_id: str, worker: str) -> None:
        """Tell the worker that has the request, or whichever will take it."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                if worker:
                    key, stop = stops_key(worker), {"request": request_id}
                    pipe.xadd(key, stop, maxlen=MOST_STOPS, approximate=True)  # type: ignore[arg-type]
                    pipe.expire(key, STOPS_EXPIRY)
                else:
                    pipe.set(stopped_key(request_id), "1", ex=max(1, round(self._timeout)))
                pipe.execute()
        except (redis.RedisError, OSError):
            return  # with Redis away, workers stop everything

    # ---- the thread ----

    def _run(self) -> None:
        key, last = answers_key(self.name), "0"
        while True:
            self._rest()
            try:
                self._renew()
                last = self._read(key, last)
                if time.monotonic() - self._watched >= WATCH_SECONDS:
                    self._watched = time.monotonic()
                    self._watch()
            except (redis.RedisError, OSError) as error:
                self._fail_all(BrokerUnavailable(f"Redis went away during the answer: {error}."))
                time.sleep(AWAY_SECONDS)

    def _rest(self) -> None:
        """Wait until somebody expects an answer.

        Not at once: a request may be taken just after it was given up, and is stopped then.
        """
        with self._lock:
            if not self._slots and time.monotonic() - self._closed > LINGER_SECONDS:
                self._wanted.clear()
        self._wanted.wait()

    def _read(self, key: str, last: str) -> str:
        """Hand out what has come, and now and then take it from the stream; where to go on."""
        reply: Any = self._redis.xread({key: last}, count=1000, block=int(1000 * BLOCK_SECONDS))
        for _, messages in reply:
            for last, fields in messages:  # noqa: B007 (the last one is where to go on)
                if self._is_new(fields["worker"], int(fields["number"])):
                    for request_id, entry in decode_entries(fields["entries"]):
                        self._hand_out(request_id, entry)
        now = time.monotonic()
        if last != self._trimmed[1] and now - self._trimmed[0] >= TRIM_SECONDS:
            self._redis.xtrim(key, minid=last, approximate=False)
            self._trimmed = (now, last)
        return last

    def _is_new(self, worker: str, number: int) -> bool:
        """Whether a message comes for the first time: a worker may send one twice."""
        before = self._numbers.pop(worker, 0)
        self._numbers[worker] = max(before, number)
        if len(self._numbers) > MOST_WORKERS:
            del self._numbers[next(iter(self._numbers))]  # the longest silent one
        return number > before

    def _hand_out(self, request_id: str, entry: StreamEntry) -> None:
        last = entry.kind in ("end", "error")
        with self._lock:
            slot = self._slots.get(request_id)
            if slot is not None:
                slot.worker = entry.worker
                slot.ended = last
        if slot is not None:
            slot.news.put(entry)
        elif entry.kind == "accepted":  # given up in the moment in which it was taken
            self._stop(request_id, entry.worker)

    def _renew(self) -> None:
        """Say that this process lives, if it is time to.

        Answers that are open when others thought it dead are lost.
        """
        with self._renewing:
            if time.monotonic() - self._renewed < RENEW_SECONDS:
                return
            before = self._redis.set(reader_key(self.name), "1", ex=READER_SECONDS, get=True)
            if before is None:
                self._fail_all(WorkerLost("The answer was interrupted. Send the request again."))
            self._renewed = time.monotonic()

    def _watch(self) -> None:
        """Look whether the workers behind open requests live."""
        with self._lock:
            slots = list(self._slots.values())
        workers = sorted({slot.worker for slot in slots if slot.worker})
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.exists(ANY_WORKER_KEY)
            for worker in workers:
                pipe.exists(worker_key(worker))
            any_worker, *alive = pipe.execute()
        dead = {worker for worker, there in zip(workers, alive, strict=True) if not there}
        now = time.monotonic()
        for slot in slots:
            waited = now - slot.began
            if slot.worker in dead:
                slot.news.put(_worker_lost())
            elif not slot.worker and waited > NO_WORKER_SECONDS and not any_worker:
                slot.news.put(_no_worker("none is running"))
            elif not slot.worker and waited > self._timeout:
                slot.news.put(_no_worker("all are busy"))

    def _fail_all(self, error: Unavailable) -> None:
        with self._lock:
            slots = list(self._slots.values())
        for slot in slots:
            slot.news.put(error)


def _worker_lost() -> WorkerLost:
    return WorkerLost("The generation worker died while it answered. Send the request again.")


def _no_worker(reason: str) -> NoWorker:
    return NoWorker(
        f"No generation worker took the request ({reason}). Start one with "
        "`textgen worker generate`, or try again shortly."
    )
