"""What an engine measures of itself while it works: waits, tokens, and how many texts share a step.

To note a step takes a few microseconds, however many texts it had; who wants the figures reads
them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

# Upper bounds. A text may get thousands of tokens a second, or on a large model one in seconds.
TOKEN_SECONDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
    2.5, 10,
)  # fmt: skip
QUEUE_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
)  # fmt: skip
BATCH_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Tally:
    """How many values lie up to each bound and above all (``counts``), and their ``sum``."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Note a value, so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


class EngineFigures:
    """Of one engine, or of several that are driven by one thread.

    queue_seconds   from `Engine.submit` until an interactive request has a slot
    batch_queue_seconds   the same for others
    token_seconds   from one token of a text to its next; its first has none before it
    batch_texts     texts that share a step, once for each step
    """

    __slots__ = ("batch_queue_seconds", "batch_texts", "queue_seconds", "token_seconds")

    def __init__(self) -> None:
        self.queue_seconds = Tally(QUEUE_SECONDS)
        self.batch_queue_seconds = Tally(QUEUE_SECONDS)
        self.token_seconds = Tally(TOKEN_SECONDS)
        self.batch_texts = Tally(BATCH_TEXTS)

    def waited(self, seconds: float, *, interactive: bool) -> None:
        """Note how long a request had no slot."""
        (self.queue_seconds if interactive else self.batch_queue_seconds).add(seconds)

    def drew(self, texts: int, new: int, steps: int, seconds: float) -> None:
        """Note ``steps`` steps of ``texts`` texts, ``new`` of which had no token before.

        ``seconds``: since those that are not new had their last tokens.
        """
        self.batch_texts.add(texts, steps)
        self.token_seconds.add(seconds / steps, texts * steps - new)
