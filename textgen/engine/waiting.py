"""Requests that wait for a slot: two bounded queues, interactive ones first, tenants in turns."""

from __future__ import annotations

from textgen.engine.fair_queue import FairQueue
from textgen.engine.requests import Answer
from textgen.errors import EngineFull, InvalidOption


class WaitingRoom:
    """Interactive requests before all others; within each class tenants get equal shares.

    A request costs the tokens that it has to read and may write, so a tenant with many or long
    ones does not delay another's single one. Each tenant may have ``bound`` requests wait in each
    class, so nobody keeps others out either, nor a batch interactive requests.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._interactive: FairQueue[Answer] = FairQueue()
        self._batch: FairQueue[Answer] = FairQueue()

    def __len__(self) -> int:
        return len(self._interactive) + len(self._batch)

    def add(self, answer: Answer) -> None:
        """Queue a request; EngineFull where as many of its tenant wait as may."""
        request = answer.request
        queue = self._interactive if request.interactive else self._batch
        waiting = queue.waiting(request.tenant)
        if waiting >= self._bound:
            kind = "interactive" if request.interactive else "batch"
            raise EngineFull(
                f"{waiting} {kind} requests wait for the generation engine, which is all it "
                "takes. Send the request again in a moment."
            )
        cost = 1 + len(request.prompt) + request.options.max_tokens
        queue.push(request.tenant, request.id, answer, cost)

    @property
    def turn(self) -> str | None:
        """The tenant whose interactive request goes next; None where none waits."""
        return self._interactive.turn

    def next(self, *, batch: bool) -> Answer | None:
        """Take an interactive request, or else, where ``batch``, one of the others."""
        found = self._interactive.pop()
        return self._batch.pop() if found is None and batch else found

    def remove(self, request_id: str) -> bool:
        """Drop a request; whether it was there."""
        return self._interactive.remove(request_id) or self._batch.remove(request_id)


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
