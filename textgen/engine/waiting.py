"""Requests that wait for a slot: two bounded queues, interactive ones first."""

from __future__ import annotations

from textgen.engine.requests import Answer
from textgen.errors import EngineFull, InvalidOption


class WaitingRoom:
    """First come, first served within each of the two classes; ``bound`` requests in each.

    A batch can so never keep interactive requests out of the queue either.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._queues: dict[bool, dict[str, Answer]] = {True: {}, False: {}}  # by `interactive`

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, answer: Answer) -> None:
        """Queue a request; EngineFull where its queue is full."""
        queue = self._queues[answer.request.interactive]
        if len(queue) >= self._bound:
            kind = "interactive" if answer.request.interactive else "batch"
            raise EngineFull(
                f"{len(queue)} {kind} requests wait for the generation engine, which is all it "
                "takes. Send the request again in a moment."
            )
        queue[answer.request.id] = answer

    def next(self, *, batch: bool) -> Answer | None:
        """Take the first interactive request, or else, where ``batch``, the first of the others."""
        for interactive in (True, False) if batch else (True,):
            queue = self._queues[interactive]
            if queue:
                return queue.pop(next(iter(queue)))
        return None

    def remove(self, request_id: str) -> bool:
        """Drop a request; whether it was there."""
        return any(queue.pop(request_id, None) is not None for queue in self._queues.values())


def check_sizes(slots: int, reserve: int, queue: int) -> None:
    """InvalidOption where an engine of these sizes could not run."""
    if slots < 1:
        raise InvalidOption(f"'slots' is {slots}; it must be at least 1.", param="slots")
    if not 0 <= reserve < slots:
        raise InvalidOption(
            f"'interactive_reserve' is {reserve}; it must be from 0 to {slots - 1}, one less than "
            "'slots', so that batch requests can run at all.",
            param="interactive_reserve",
        )
    if queue < 1:
        raise InvalidOption(f"'queue' is {queue}; it must be at least 1.", param="queue")
