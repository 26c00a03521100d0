"""Whether the client of a request is still there.

WSGI says nothing of a client that goes away while its answer is being made. gunicorn's threaded
worker hands its socket along, and a look at it, without taking anything from it, tells.
"""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass

from flask import request


@dataclass(frozen=True)
class Client:
    """The other end of one request; under a server without ``gunicorn.socket`` always there."""

    connection: socket.socket | None

    def gone(self) -> bool:
        """True once the client has closed its side."""
        if self.connection is None:
            return False
        news = select.poll()
        try:
            news.register(self.connection, select.POLLIN)
            # A socket with a timeout would wait for news, so it is read only where there are some.
            return bool(news.poll(0)) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True


def current_client() -> Client:
    """The client of the current request; may be kept beyond it, for a streamed answer."""
    return Client(request.environ.get("gunicorn.socket"))
