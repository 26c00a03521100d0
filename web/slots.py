"""Bounds how many long answers hold a thread, so that short ones always find a free one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from worker.errors import QueueFull


class Slots:
    """A counted number of places; take one with ``with`` or with ``take`` and ``free``."""

    def __init__(self, count: int, what: str) -> None:
        self._count = count
        self._what = what
        self._places = threading.BoundedSemaphore(count)

    def take(self) -> Place:
        """A place; raises QueueFull when all are taken."""
        if not self._places.acquire(blocking=False):
            error = QueueFull(
                f"{self._count} {self._what} are open, which is all that this process serves at "
                "a time. Try again shortly.",
                code="too_many_requests",
            )
            error.retry_after = 1.0
            raise error
        return Place(self._places)


class StreamSlots(Slots):
    """Event streams, of which one project may hold half, so that one alone cannot take them all."""

    def __init__(self, count: int) -> None:
        super().__init__(count, "event streams")
        self._most = max(1, count // 2)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def take_for(self, project: str) -> Place:
        """A place; raises QueueFull when all are taken, or the project has its half."""
        with self._lock:
            if self._held[project] >= self._most:
                error = QueueFull(
                    f"{self._most} event streams of this project are open, which is all that one "
                    "project may have in one process: half of its places. Close some (every page "
                    "that follows jobs and every program that does so holds one), or ask with "
                    "GET /v1/jobs from time to time.",
                    code="too_many_requests",
                )
                error.retry_after = 5.0
                raise error
            place = self.take()
            self._held[project] += 1
        return place.also(lambda: self._give_back(project))

    def _give_back(self, project: str) -> None:
        with self._lock:
            self._held[project] -= 1
            if not self._held[project]:
                del self._held[project]


class Place:
    """One place; freeing it twice does no harm."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._given_back: list[Callable[[], None]] = [places.release]

    def also(self, give_back: Callable[[], None]) -> Self:
        """Give something else back together with the place."""
        self._given_back.append(give_back)
        return self

    def free(self) -> None:
        """Give the place back."""
        while self._given_back:
            with suppress(IndexError):  # another thread was faster
                self._given_back.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.free()
