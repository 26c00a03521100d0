"""Whose turn it is among those who wait: start-time fair queueing.

Goyal, Vin and Cheng, "Start-time Fair Queuing" (1996). Each item has a cost. An item's start is the
end of the one before it of the same flow, or the clock, whichever is later; its end is its start
plus its cost; the clock is the start of the item that was taken last. The earliest start goes
first. So flows that have something to wait for get equal costs through, and one that comes with a
single item does not wait for the many of another.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items by their keys, of any number of flows; within a flow, first come, first served."""

    def __init__(self) -> None:
        self._flows: dict[str, dict[str, tuple[float, Item]]] = {}  # (cost, item) by key, in order
        self._flow_of: dict[str, str] = {}  # by key
        self._starts: dict[str, float] = {}  # of each flow's next item
        self._heap: list[tuple[float, int, str]] = []  # (start, order, flow)
        self._queued: set[str] = set()  # flows in the heap; some may have nothing more
        self._order = count()
        self._clock = 0.0

    def __len__(self) -> int:
        return len(self._flow_of)

    def waiting(self, flow: str) -> int:
        """Items of one flow."""
        return len(self._flows.get(flow, ()))

    def push(self, flow: str, key: str, item: Item, cost: float) -> None:
        """Add an item; ``key`` is in use for no other, ``cost`` is above 0."""
        items = self._flows.setdefault(flow, {})
        items[key] = (cost, item)
        self._flow_of[key] = flow
        if len(items) == 1:
            self._starts[flow] = max(self._clock, self._starts.get(flow, 0.0))
            self._enqueue(flow)

    @property
    def turn(self) -> str | None:
        """The flow whose item would be taken now; None where nothing waits."""
        while self._heap:
            start, _, flow = self._heap[0]
            if flow in self._flows and self._starts[flow] <= start:
                return flow
            heapq.heappop(self._heap)  # its items were removed
            self._queued.discard(flow)
            if flow in self._flows:  # and others came later
                self._enqueue(flow)
        return None

    def pop(self) -> Item | None:
        """Take the item whose turn it is; None where nothing waits."""
        flow = self.turn
        if flow is None:
            return None
        start, *_ = heapq.heappop(self._heap)
        self._queued.discard(flow)
        items = self._flows[flow]
        key = next(iter(items))
        cost, item = items.pop(key)
        del self._flow_of[key]
        self._clock = start
        self._starts[flow] = start + cost
        if items:
            self._enqueue(flow)
        else:
            self._rest(flow)
        return item

    def remove(self, key: str) -> bool:
        """Drop an item at no cost to its flow; whether it was there."""
        flow = self._flow_of.pop(key, None)
        if flow is None:
            return False
        del self._flows[flow][key]
        if not self._flows[flow]:
            self._rest(flow)
        return True

    def _enqueue(self, flow: str) -> None:
        if flow not in self._queued:
            self._queued.add(flow)
            heapq.heappush(self._heap, (self._starts[flow], next(self._order), flow))

    def _rest(self, flow: str) -> None:
        """A flow has nothing more; how far it is ahead is kept while it matters."""
        del self._flows[flow]
        if not self._flows:
            self._starts.clear()
            self._heap.clear()
            self._queued.clear()
            self._clock = 0.0
        elif len(self._starts) > 2 * len(self._flows) + 64:
            behind = [name for name, start in self._starts.items()
                      if name not in self._flows and start <= self._clock]  # fmt: skip
            for name in behind:
                del self._starts[name]
