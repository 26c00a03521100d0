"""Progress of long work that makes no steps: a text is read, encoded, measured on, indexed."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from textgen.events import Event, OnEvent

EVERY = 2.0  # seconds
_Made = TypeVar("_Made")


class SignsOfLife:
    """Tells every two seconds what is being done; short work passes without a word.

    The listener is always called in the thread that made this.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._next = time.monotonic() + EVERY
        self._told = False

    def tell(self, doing: str, characters: int, total: int | None = None) -> None:
        """Say that ``characters`` of ``total`` have been done, if it is time to say something."""
        if time.monotonic() < self._next:
            return
        of = "" if total is None else f" of {total:,}"
        self._say(doing, f"{characters:,}{of} characters", {"characters": characters})

    def during(self, doing: str, work: Callable[[], _Made]) -> _Made:
        """What ``work`` gives, which runs in a thread of its own and says nothing itself."""
        still = self.still(doing)
        with ThreadPoolExecutor(1) as pool:
            future: Future[_Made] = pool.submit(work)
            while not wait([future], max(self._next - time.monotonic(), 0.01)).done:
                still()
            return future.result()

    def still(self, doing: str) -> Callable[[], None]:
        """Something for work that begins now to call often: it says for how long it has gone on."""
        started = time.monotonic()

        def say() -> None:
            if time.monotonic() >= self._next:
                seconds = round(time.monotonic() - started)
                self._say(doing, f"{seconds} s so far", {"doing_seconds": seconds})

        return say

    def end(self) -> None:
        """Nothing of the kind is being done any more."""
        if self._told:
            self._on_event(Event("progress", "Done", data={"doing": None}))

    def _say(self, doing: str, how_far: str, data: dict[str, int]) -> None:
        self._next, self._told = time.monotonic() + EVERY, True
        message = f"{doing.capitalize()}: {how_far}"
        self._on_event(Event("progress", message, data={"doing": f"{doing}, {how_far}", **data}))
