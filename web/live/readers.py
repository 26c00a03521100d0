"""The connection of one reader, written to without waiting for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from web.live.watches import Watch

KEEPALIVE_SECONDS = 10.0
MOST_UNSENT = 2**20  # bytes; a reader that is further behind is told no more until it has read
PATIENCE_SECONDS = 60.0  # for a reader that takes nothing


class Reader:
    """A client whose answer has begun, on a socket that is ours; used by the hub's thread alone.

    ``chunked``: whether the answer is in chunks, as of HTTP/1.1.
    """

    def __init__(
        self, connection: socket.socket, chunked: bool, watch: Watch, on_close: Callable[[], None]
    ) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.watch = watch
        self._chunked = chunked
        self._on_close = on_close
        self._unsent = bytearray()
        self._spoke = self._moved = time.monotonic()
        self.gone = False

    @property
    def behind(self) -> bool:
        """Whether it has so much to read already that nothing is added."""
        return len(self._unsent) > MOST_UNSENT

    @property
    def waits_to_write(self) -> bool:
        """Whether something is left that the connection has no room for."""
        return bool(self._unsent) and not self.gone

    def say(self, text: str) -> None:
        """Add to what is sent."""
        data = text.encode()
        self._unsent += b"%X\r\n%b\r\n" % (len(data), data) if self._chunked else data
        self._spoke = time.monotonic()

    def keep_alive(self) -> None:
        """Say something where nothing was said for a while; give up on who takes nothing."""
        now = time.monotonic()
        if self._unsent and now - self._moved > PATIENCE_SECONDS:
            self.gone = True
        elif not self._unsent and now - self._spoke >= KEEPALIVE_SECONDS:
            self.say(": waiting\n\n")

    def write(self) -> None:
        """Send as much as the connection takes now."""
        try:
            while self._unsent:
                sent = self.connection.send(self._unsent)
                del self._unsent[:sent]
                self._moved = time.monotonic()
        except BlockingIOError:
            return
        except OSError:
            self.gone = True

    def read(self) -> None:
        """Notice that the other end has closed; what it sends is of no interest."""
        try:
            self.gone = self.gone or self.connection.recv(4096) == b""
        except BlockingIOError:
            return
        except OSError:
            self.gone = True

    def close(self) -> None:
        """End the answer, as far as it goes without waiting, and the connection."""
        if self._chunked and not self.gone:
            self._unsent += b"0\r\n\r\n"
            self.write()
        self.connection.close()
        self._on_close()
