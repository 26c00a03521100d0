"""An engine's time, shared out evenly among the requests that hold a slot.

A clock runs at 1/n of the time while n requests hold a slot. What a request has taken is how far
the clock has come since it got its own, so a step costs the same however many there are. It is
the virtual time of weighted fair queueing: A. Demers, S. Keshav, S. Shenker, "Analysis and
simulation of a fair queueing algorithm", 1989.
"""

from __future__ import annotations

MOST_LEFT = 65_536  # of those that ended and were not asked for; the oldest are forgotten


class TimeShare:
    """Seconds by request; all together are the seconds of the steps in which one held a slot."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._since: dict[str, float] = {}  # of those that hold a slot: where they last asked
        self._left: dict[str, float] = {}  # seconds of those that hold none any more
        self._leaving: set[str] = set()

    def enter(self, name: str) -> None:
        """A request gets a slot, for the first time or again."""
        if name in self._leaving:
            self._leaving.remove(name)
        else:
            self._since[name] = self._clock

    def leave(self, name: str) -> None:
        """It gives the slot back, for good or for a while; the present step is shared with it."""
        self._leaving.add(name)

    def drop(self, name: str) -> None:
        """It was cancelled: nobody will ask."""
        self._since.pop(name, None)
        self._left.pop(name, None)

    def advance(self, seconds: float) -> None:
        """A step took so long."""
        if self._since:
            self._clock += seconds / len(self._since)
        for name in self._leaving:
            if name in self._since:
                taken = self._clock - self._since.pop(name)
                self._left[name] = self._left.get(name, 0.0) + taken
        self._leaving.clear()
        while len(self._left) > MOST_LEFT:
            del self._left[next(iter(self._left))]

    def take(self, name: str) -> float:
        """Seconds of a request since this was last asked, or since it got its slot."""
        taken = self._left.pop(name, 0.0)
        if name in self._since:
            taken += self._clock - self._since[name]
            self._since[name] = self._clock
        return taken
