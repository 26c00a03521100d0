"""Clients that hang up while they wait are noticed at once, not when something is written to them.

A thread that makes an answer sleeps until there is news, so one other thread watches all of their
connections. Where the system has no epoll, readers look for themselves now and then.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator

from web.connection import current_client
from worker.client import Completions
from worker.contracts import GenerateRequest, StreamEntry


class Departures:
    """Calls back, in a thread of its own and once, when the other end of a connection closes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[int, Callable[[], object]] = {}  # by file descriptor
        self._names: dict[str, int] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._thread: threading.Thread | None = None

    def watch(self, name: str, connection: socket.socket, call: Callable[[], object]) -> None:
        """Watch a connection, under a name, until `forget`."""
        if self._epoll is None:
            return
        number = connection.fileno()
        with self._lock:
            self._names[name] = number
            self._calls[number] = call
            self._epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="departures", daemon=True)
                self._thread.start()

    def forget(self, name: str) -> None:
        """Watch no longer; before the connection is closed on this side."""
        with self._lock:
            number = self._names.pop(name, None)
            if number is not None and self._epoll is not None:
                del self._calls[number]
                self._epoll.unregister(number)

    def _run(self) -> None:
        while self._epoll is not None:
            for number, _ in self._epoll.poll():
                with self._lock:
                    call = self._calls.get(number)
                if call is not None:
                    call()


class WatchedCompletions:
    """`Completions` whose readers are told when the client of their request hangs up."""

    def __init__(self, completions: Completions) -> None:
        self._completions = completions
        self._departures = Departures()

    def start(self, request: GenerateRequest) -> None:
        """Send a request, for the client of the current HTTP request."""
        self._completions.start(request)
        connection = current_client().connection
        if connection is not None:
            nudge = self._completions.nudge
            self._departures.watch(request.id, connection, lambda: nudge(request.id))

    def read(self, request_id: str) -> Iterator[StreamEntry | None]:
        """As `Completions.read`; a None comes at once when the client has hung up."""
        try:
            yield from self._completions.read(request_id)
        finally:
            self._departures.forget(request_id)
