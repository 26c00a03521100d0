"""What workers have published of themselves, as web processes read it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import redis

from worker.errors import BrokerUnavailable
from worker.redis_keys import metrics_key


class Published(Protocol):
    """Reads what workers publish."""

    def texts(self, workers: Sequence[str]) -> list[str | None]:
        """The figures of each, None where there are none; raises BrokerUnavailable."""

    def waiting(self, queues: Sequence[str]) -> list[int]:
        """Messages in each queue that nobody has taken; raises BrokerUnavailable."""


class PublishedMetrics:
    """`Published` from Redis. Safe to share between threads.

    After a failure it does not try again for ``retry_seconds``: who looks at a page must not
    wait for a Redis that never answers, each time.
    """

    def __init__(self, connection: redis.Redis, retry_seconds: float) -> None:
        self._redis = connection
        self._retry_seconds = retry_seconds
        self._skip_until = 0.0

    def texts(self, workers: Sequence[str]) -> list[str | None]:
        """The figures of each, None where there are none; raises BrokerUnavailable."""
        if not workers:
            return []
        with self._tried():
            found = self._redis.mget([metrics_key(worker) for worker in workers])
        return [None if each is None else str(each) for each in found]

    def waiting(self, queues: Sequence[str]) -> list[int]:
        """Messages in each queue that nobody has taken; raises BrokerUnavailable."""
        with self._tried(), self._redis.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.llen(queue)
            return [int(each) for each in pipe.execute()]

    @contextmanager
    def _tried(self) -> Iterator[None]:
        if time.monotonic() < self._skip_until:
            raise BrokerUnavailable("Redis did not answer a moment ago.")
        try:
            yield
        except (redis.RedisError, OSError) as error:
            self._skip_until = time.monotonic() + self._retry_seconds
            raise BrokerUnavailable(f"Redis does not answer: {error}.") from error
