"""Enqueueing by name, and reading the answer of an interactive request.

The web process uses these; no task function, and so no torch, is imported here.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from worker.contracts import (
    GENERATE_TASK,
    INTERACTIVE,
    WAKE_TASK,
    GenerateRequest,
    Queue,
    StreamEntry,
)
from worker.errors import BrokerUnavailable
from worker.mailbox import Mailbox
from worker.settings import Settings

# A reader gets a None after so long without news. Where there is epoll, clients that hang up are
# noticed without (`web.departures`), and it is but a sign of life.
POLL_SECONDS = 5.0 if hasattr(select, "epoll") else 0.5
ANSWER_RETRIES = 3  # of a broken connection, on either end of an answer's way
BROKER_ERRORS = (OperationalError, redis.RedisError, OSError)


def connect(settings: Settings, *, retries: int = 0) -> redis.Redis:
    """A Redis client for streams and keys; safe to share between threads.

    Where a connection breaks, its commands are sent again up to ``retries`` times: a command may
    then be carried out twice.
    """
    backoff = ExponentialWithJitterBackoff(base=0.02, cap=0.5)
    return redis.Redis.from_url(
        settings.broker_url,
        retry=Retry(backoff, retries, supported_errors=(redis.ConnectionError,)),
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
    """Interactive requests: at most once, their tokens through this process's mailbox."""

    def __init__(self, app: Celery, connection: redis.Redis, timeout: float) -> None:
        self._app = app
        self._timeout = timeout
        self._mailbox = Mailbox(connection, timeout)

    def start(self, request: GenerateRequest) -> None:
        """Send the request; raises BrokerUnavailable. Then it is to be read."""
        self._mailbox.open(request.id)
        try:
            request = request.model_copy(update={"reader": self._mailbox.name})
            self._app.send_task(
                GENERATE_TASK,
                args=(request.model_dump(mode="json"),),
                queue=INTERACTIVE,
                argsrepr="",  # for logs; to make it takes a quarter of the whole call
                kwargsrepr="",
                retry=False,
                expires=self._timeout,
            )
        except BROKER_ERRORS as error:
            self._mailbox.close(request.id)
            raise BrokerUnavailable(
                "The request could not be handed to a worker: Redis does not answer. "
                "Try again shortly."
            ) from error

    def read(self, request_id: str) -> Iterator[StreamEntry | None]:
        """Yield entries until the last (kind end or error); None when a moment passed without.

        The Nones let the caller look whether its own client is still there. Raises NoWorker when
        nobody takes the request in time, WorkerLost when the worker dies, BrokerUnavailable.
        Close the iterator (or let it end) to stop the request.
        """
        try:
            while True:
                entry = self._mailbox.next(request_id, POLL_SECONDS)
                yield entry
                if entry is not None and entry.kind in ("end", "error"):
                    return
        finally:
            self._mailbox.close(request_id)

    def nudge(self, request_id: str) -> None:
        """Have its reader get a None now: there is reason to look at the client."""
        self._mailbox.nudge(request_id)
