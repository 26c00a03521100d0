"""Server-sent events for any number of readers, from one thread and one look at the database.

A reader's request takes a web thread only until its answer has begun. Then the connection goes to
the hub's thread, which looks twice a second at all jobs that are watched, by one query, and
writes what is new to whoever waits for it. It looks at their keys too: a stream ends where a new
request of its reader would be refused. Under a server that does not hand over its
connections, the request's own thread looks and writes. What nobody foresaw ends the stream that it
came with; the thread goes on for the others.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from flask import Response, request

from textgen.errors import TextgenError
from web.connection import Client, current_client
from web.event_stream import stream_response
from web.live.looks import Look
from web.live.readers import Reader
from web.live.rights import Rights
from web.live.watches import Watch
from worker.errors import DatabaseUnavailable
from worker.jobs.jobs import Jobs

LOG = logging.getLogger("textgen.web")
LOOK_SECONDS = 0.5
A = TypeVar("A")
BEGINNING = ": here\n\n"  # a reader knows at once that it is heard, though nothing be new


class Hub:
    """All readers of one web process; its thread starts with the first."""

    def __init__(self, jobs: Jobs, rights: Rights, stopping: threading.Event) -> None:
        self._jobs = jobs
        self._rights = rights
        self._stopping = stopping
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._arriving: deque[Reader] = deque()
        self._selector = selectors.DefaultSelector()
        self._readers: set[Reader] = set()
        self._wake_end, self._wake = os.pipe()
        os.set_blocking(self._wake_end, False)
        os.set_blocking(self._wake, False)
        self._selector.register(self._wake_end, selectors.EVENT_READ)

    def respond(self, watch: Watch, on_close: Callable[[], None]) -> Response:
        """The answer to the current request: what ``watch`` tells, until it or the client ends.

        ``on_close`` runs once the reader has gone, also where it never began to read.
        """
        client = current_client()
        if client.connection is None:
            return stream_response(self.follow(watch, client), on_close)
        chunked = request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        ours = threading.Event()  # set when the connection is the hub's, and on_close with it
        events = self._hand_over(client.connection, chunked, watch, on_close, ours)
        return stream_response(events, lambda: None if ours.is_set() else on_close())

    def follow(self, watch: Watch, client: Client) -> Iterator[str]:
        """What ``watch`` tells, looked for by the thread that asks."""
        yield BEGINNING
        while not self._stopping.is_set() and not client.gone():
            if (error := self._rights.lost([watch.key]).get(watch.key.id)) is not None:
                yield watch.failed(error)
                return
            yield from watch.news(Look(self._jobs, watch.ids))
            if watch.ended:
                return
            if not watch.hungry:
                self._stopping.wait(LOOK_SECONDS)

    def join(self) -> None:
        """Wait until all readers were told that it ends, which they are once it stops."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._rouse()
            thread.join()
            self._end()  # of those who came while it ended

    def _hand_over(
        self,
        connection: socket.socket,
        chunked: bool,
        watch: Watch,
        on_close: Callable[[], None],
        ours: threading.Event,
    ) -> Iterator[str]:
        """Let the server send the head of the answer, then take its connection away.

        `web.server.Worker` sees a socket without a descriptor and lets it be.
        """
        yield BEGINNING
        own = socket.socket(fileno=connection.detach())
        ours.set()
        self._arriving.append(Reader(own, chunked, watch, on_close))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
        self._rouse()
        raise ConnectionResetError(errno.ECONNRESET, "the connection went on to the hub")

    def _rouse(self) -> None:
        with suppress(BlockingIOError):  # so much lies there unread that it wakes anyway
            os.write(self._wake, b".")

    def _run(self) -> None:
        next_look = 0.0
        while not self._stopping.is_set():
            try:
                next_look = self._turn(next_look)
            except Exception:
                LOG.exception("live pages: a turn failed")
                self._stopping.wait(LOOK_SECONDS)
        self._end()

    def _turn(self, next_look: float) -> float:
        """Wait for what connections do, or until the next look; when the one after that is due."""
        pause = LOOK_SECONDS if not self._readers else max(0.0, next_look - time.monotonic())
        for key, events in self._selector.select(pause):
            if key.data is None:
                os.read(self._wake_end, 4096)
                next_look = 0.0  # who has just come wants to see something
            else:
                self._do(key.data, partial(self._serve, key.data, events))
        self._admit()
        if self._readers and time.monotonic() >= next_look:
            due = time.monotonic() + LOOK_SECONDS
            return 0.0 if self._look() else due
        return next_look

    def _end(self) -> None:
        """Tell everybody, also who has just come, that it ends."""
        self._admit()
        for reader in list(self._readers):
            self._drop(reader)

    def _do(self, reader: Reader, act: Callable[[], object]) -> None:
        """Act for one reader; what nobody foresaw costs this reader its connection, and no other.

        Lets DatabaseUnavailable through, which is nobody's fault.
        """
        try:
            act()
        except DatabaseUnavailable:
            raise
        except Exception:
            LOG.exception("live pages: a stream of %s was given up", ", ".join(reader.watch.ids))
            reader.gone = True
            self._drop(reader)

    def _admit(self) -> None:
        while self._arriving:
            reader = self._arriving.popleft()
            self._readers.add(reader)
            listen = partial(self._selector.register, reader.connection, selectors.EVENT_READ)
            self._do(reader, partial(listen, reader))

    def _serve(self, reader: Reader, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            reader.write()
        if events & selectors.EVENT_READ:
            reader.read()
        self._settle(reader)

    def _look(self) -> bool:
        """Tell every reader what is new; whether there is more to be read at once."""
        readers = list(self._readers)
        try:
            lost = _at_once(partial(self._lost, readers))
            look = _at_once(partial(self._look_at, [each for each in readers if not each.behind]))
            for reader in readers:
                self._do(reader, partial(self._tell, reader, lost, look))
        except DatabaseUnavailable as error:  # readers wait, as for a job that does nothing
            LOG.warning("live pages: %s", error.message)
        for reader in list(self._readers):
            self._do(reader, partial(self._send, reader))
        return any(reader.watch.hungry and not reader.behind for reader in self._readers)

    def _lost(self, readers: Sequence[Reader]) -> Mapping[str, TextgenError]:
        return self._rights.lost([reader.watch.key for reader in readers])

    def _look_at(self, readers: Sequence[Reader]) -> Look:
        return Look(self._jobs, [job for reader in readers for job in reader.watch.ids])

    def _tell(
        self, reader: Reader, lost: Mapping[str, TextgenError] | None, look: Look | None
    ) -> None:
        """What is new, or that its key is no longer good; asks by itself where nobody could."""
        if reader.watch.ended:
            return
        lost = self._lost([reader]) if lost is None else lost
        if (error := lost.get(reader.watch.key.id)) is not None:
            reader.say(reader.watch.failed(error))
        elif not reader.behind:
            for text in reader.watch.news(self._look_at([reader]) if look is None else look):
                reader.say(text)

    def _send(self, reader: Reader) -> None:
        reader.keep_alive()
        reader.write()
        self._settle(reader)

    def _settle(self, reader: Reader) -> None:
        """Forget a reader that is done; else listen to what its connection can do next."""
        if reader.gone or (reader.watch.ended and not reader.waits_to_write):
            self._drop(reader)
            return
        wanted = selectors.EVENT_READ
        if reader.waits_to_write:
            wanted |= selectors.EVENT_WRITE
        self._selector.modify(reader.connection, wanted, reader)

    def _drop(self, reader: Reader) -> None:
        self._readers.discard(reader)
        with suppress(KeyError, ValueError):  # it was never listened to
            self._selector.unregister(reader.connection)
        try:
            reader.close()
        except Exception:
            LOG.exception("live pages: a stream could not be closed")


def _at_once(ask: Callable[[], A]) -> A | None:
    """The answer for all readers by one query; None where nobody foresaw why there is none."""
    try:
        return ask()
    except DatabaseUnavailable:
        raise
    except Exception:
        LOG.exception("live pages: what all readers need could not be asked for at once")
        return None
