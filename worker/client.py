"""Enqueueing by name, and reading the answer of an interactive request.

The web process uses these; no task function, and so no torch, is imported here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from worker.contracts import (
    ANY_WORKER_KEY,
    GENERATE_TASK,
    INTERACTIVE,
    WAKE_TASK,
    GenerateRequest,
    Queue,
    StreamEntry,
    reader_key,
    stream_key,
    worker_key,
)
from worker.errors import BrokerUnavailable, NoWorker, WorkerLost
from worker.settings import Settings

READER_SECONDS = 15  # a reader that is gone this long has its request stopped
POLL_SECONDS = 0.5  # between two looks at the health of the worker while nothing arrives
NO_WORKER_SECONDS = 3.0  # with no generation worker alive at all, wait no longer than this
BROKER_ERRORS = (OperationalError, redis.RedisError, OSError)


def connect(settings: Settings) -> redis.Redis:
    """A Redis client for streams and keys; safe to share between threads."""
    return redis.Redis.from_url(
        settings.broker_url,
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=1,
        socket_keepalive=True,
        health_check_interval=15,
    )


class Wakeups:
    """Tells idle workers that a queue has work. Never needed for correctness, only for speed."""

    def __init__(self, app: Celery, connection: redis.Redis, retry_seconds: float) -> None:
        self._app = app
        self._redis = connection
        self._retry_seconds = retry_seconds
        self._skip_until = 0.0

    def publish(self, queue: Queue) -> bool:
        """Try once, quickly; after a failure try nothing for some seconds. True when sent."""
        if time.monotonic() < self._skip_until:
            return False
        try:
            self._app.send_task(WAKE_TASK, args=(queue,), queue=queue, retry=False)
        except BROKER_ERRORS:
            self._skip_until = time.monotonic() + self._retry_seconds
            return False
        return True

    def waiting(self, queue: Queue) -> int:
        """Messages that no worker has taken yet; raises BrokerUnavailable."""
        try:
            return int(self._redis.llen(queue))
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}.") from error

    def ping(self) -> None:
        """Raise BrokerUnavailable unless Redis answers."""
        try:
            self._redis.ping()
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}.") from error


class Completions:
    """Interactive requests: at most once, their tokens on a stream of their own."""

    def __init__(self, app: Celery, connection: redis.Redis, timeout: float) -> None:
        self._app = app
        self._redis = connection
        self._timeout = timeout

    def start(self, request: GenerateRequest) -> None:
        """Send the request; raises BrokerUnavailable."""
        try:
            self._redis.set(reader_key(request.id), "1", ex=READER_SECONDS)
            self._app.send_task(
                GENERATE_TASK,
                args=(request.model_dump(mode="json"),),
                queue=INTERACTIVE,
                retry=False,
                expires=self._timeout,
            )
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(
                "The request could not be handed to a worker: Redis does not answer. "
                "Try again shortly."
            ) from error

    def read(self, request_id: str) -> Iterator[StreamEntry | None]:
        """Yield entries until the last (kind end or error); None when a moment passed without.

        The Nones let the caller look whether its own client is still there. Raises NoWorker when
        nobody takes the request in time, WorkerLost when the worker dies, BrokerUnavailable.
        Close the iterator (or let it end) to stop the request and drop its stream.
        """
        watch = _Watch(self._redis, self._timeout)
        last = "0"
        try:
            while True:
                watch.keep_reader(request_id)
                reply: Any = self._redis.xread(
                    {stream_key(request_id): last}, count=100, block=int(POLL_SECONDS * 1000)
                )
                if not reply:
                    watch.check()
                    yield None
                    continue
                for entry_id, fields in reply[0][1]:
                    last = entry_id
                    entry = StreamEntry.model_validate_json(fields["entry"])
                    watch.note(entry)
                    yield entry
                    if entry.kind in ("end", "error"):
                        return
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"Redis went away during the answer: {error}.") from error
        finally:
            self._forget(request_id)

    def cancel(self, request_id: str) -> None:
        """Stop a request whose answer nobody reads any more."""
        self._forget(request_id)

    def _forget(self, request_id: str) -> None:
        try:
            self._redis.delete(reader_key(request_id), stream_key(request_id))
        except BROKER_ERRORS:
            return  # both keys expire by themselves


class _Watch:
    """Knows whether the worker behind an answer is still alive."""

    def __init__(self, connection: redis.Redis, timeout: float) -> None:
        self._redis = connection
        self._started = time.monotonic()
        self._deadline = self._started + timeout
        self._refresh_at = self._started + READER_SECONDS / 3
        self._worker = ""

    def keep_reader(self, request_id: str) -> None:
        """Say from time to time that someone still reads."""
        now = time.monotonic()
        if now >= self._refresh_at:
            self._redis.set(reader_key(request_id), "1", ex=READER_SECONDS)
            self._refresh_at = now + READER_SECONDS / 3

    def note(self, entry: StreamEntry) -> None:
        """Remember who took the request."""
        if entry.kind == "accepted":
            self._worker = entry.worker

    def check(self) -> None:
        """Nothing came for a moment: is anybody there?"""
        now = time.monotonic()
        if self._worker:
            if not self._redis.exists(worker_key(self._worker)):
                raise WorkerLost(
                    "The generation worker died while it answered. Send the request again."
                )
            return
        alone = now - self._started > NO_WORKER_SECONDS and not self._redis.exists(ANY_WORKER_KEY)
        if alone or now > self._deadline:
            reason = "none is running" if alone else "all are busy"
            raise NoWorker(
                f"No generation worker took the request ({reason}). Start one with "
                "`textgen worker generate`, or try again shortly."
            )
