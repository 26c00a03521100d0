"""What a process does again and again, beside all else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(name: str, act: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call ``act`` at once, and then with so many seconds between, until the block ends.

    It runs in a daemon thread called ``name``, and answers for its own errors: what it raises ends
    the thread.
    """
    stop = threading.Event()

    def run() -> None:
        act()
        while not stop.wait(seconds):
            act()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
