"""Requests and characters a minute, by project: counted on Redis, for all web processes together.

The sliding window of `limits` weighs the minute before into the running one, so a burst around
the full minute is no way past it. While Redis is away each process counts by itself: requests
are served, and still bounded. After a failure Redis is left alone for some seconds.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import redis
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter

from worker.errors import QueueFull, RateLimited

LOG = logging.getLogger(__name__)

PREFIX = "textgen:limits"
TIMEOUT_SECONDS = 0.5
LEAVE_ALONE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a minute's bound is left, and in how many seconds all of it is there again."""

    limit: int
    remaining: int
    reset_seconds: float

    def headers(self, noun: str) -> dict[str, str]:
        """The headers that OpenAI's clients know, of ``requests`` or ``tokens``."""
        return {
            f"x-ratelimit-limit-{noun}": str(self.limit),
            f"x-ratelimit-remaining-{noun}": str(self.remaining),
            f"x-ratelimit-reset-{noun}": f"{self.reset_seconds:.3f}s",
        }


class RateLimits:
    """Counts what comes in. Safe to share between threads."""

    def __init__(self, broker_url: str) -> None:
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: RateLimiter | None = None
        self._leave_alone_until = 0.0
        if broker_url:
            storage = RedisStorage(
                broker_url,
                key_prefix=PREFIX,
                wrap_exceptions=True,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)

    def request(self, project: str, per_minute: int) -> Window:
        """Count a request; what is left of the minute. Raises RateLimited."""
        return self._count("requests", project, per_minute, 1)

    def characters(self, project: str, per_minute: int, count: int) -> Window:
        """Count the characters of a request before it is run; as `request`."""
        return self._count("characters", project, per_minute, count)

    def tokens(self, project: str, per_minute: int, count: int) -> Window:
        """Count the tokens of a request before it is run; as `request`."""
        return self._count("tokens", project, per_minute, count)

    def _count(self, noun: str, project: str, per_minute: int, count: int) -> Window:
        """One that is larger than the bound takes all of a minute."""
        item = RateLimitItemPerMinute(per_minute, namespace=noun)
        admitted, window = self._hit(item, project, min(count, per_minute))
        if not admitted:
            raise _limited(noun, project, window)
        return window

    def _hit(self, item: RateLimitItemPerMinute, project: str, cost: int) -> tuple[bool, Window]:
        def ask(limiter: RateLimiter) -> tuple[bool, Window]:
            admitted = limiter.hit(item, project, cost=cost)
            stats = limiter.get_window_stats(item, project)
            reset = max(0.0, stats.reset_time - time.time())
            return admitted, Window(item.amount, max(0, stats.remaining), reset)

        if self._shared is not None and time.monotonic() >= self._leave_alone_until:
            try:
                return ask(self._shared)
            except (StorageError, redis.RedisError, OSError) as error:
                self._leave_alone_until = time.monotonic() + LEAVE_ALONE_SECONDS
                LOG.warning("rate limits are counted by this process alone: %s", error)
        return ask(self._local)


class ProjectSlots:
    """How many completions of a project are open in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def take(self, project: str, limit: int | None) -> Callable[[], None]:
        """A place, given back by calling what this returns; raises QueueFull."""
        if limit is None:
            return lambda: None
        with self._lock:
            if self._open[project] >= limit:
                error = QueueFull(
                    f"{limit} completions of this project are open, which is all that its plan "
                    "allows at a time. Wait for one to end.",
                    code="too_many_requests",
                )
                error.retry_after = 1.0
                raise error
            self._open[project] += 1
        given = [project]

        def free() -> None:
            with suppress(IndexError), self._lock:
                self._open[given.pop()] -= 1

        return free


def _limited(noun: str, project: str, window: Window) -> RateLimited:
    error = RateLimited(
        f"The project {project!r} may send {window.limit:,} {noun} a minute. Try again in "
        f"{math.ceil(window.reset_seconds)} s."
    )
    error.retry_after = max(1.0, window.reset_seconds)
    error.headers = window.headers(noun) if noun != "characters" else {}
    return error
