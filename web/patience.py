"""How long a client may take to send a request, and to take its answer.

gunicorn's threads read from sockets that wait for ever, so a few hundred clients that send a byte
a minute would hold them all. Here a request's head has so many seconds, and so has its body, which
gets a second more for every `LEAST_BYTES` that have come. An answer's piece must be taken within
`WRITE_SECONDS`.
"""

from __future__ import annotations

import socket
import time
from typing import Literal

from textgen.errors import TextgenError

LEAST_BYTES = 500  # a second, once the first seconds are over
WRITE_SECONDS = 60.0

Reading = Literal["head", "body", "given up"]


class SlowClient(TextgenError):
    """The body of a request came too slowly."""

    default_code = "request_timeout"


class PatientSocket:
    """A client's socket as gunicorn's parser reads it; one thread at a time."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket = connection
        self._seconds = seconds
        self._reading: Reading = "head"
        self._began = 0.0
        self._received = 0

    def begin(self, reading: Literal["head", "body"]) -> None:
        """The time begins anew."""
        self._reading = reading
        self._began = time.monotonic()
        self._received = 0

    def recv(self, size: int) -> bytes:
        """What has come. In a body raises SlowClient, once; elsewhere TimeoutError."""
        extra = self._received / LEAST_BYTES if self._reading == "body" else 0.0
        left = self._began + self._seconds + extra - time.monotonic()
        try:
            if self._reading == "given up" or left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(size)
        except TimeoutError:
            body, self._reading = self._reading == "body", "given up"
            if body:
                raise _slow(self._seconds) from None
            raise
        finally:
            self._socket.settimeout(WRITE_SECONDS)
        self._received += len(data)
        return data


def _slow(seconds: float) -> SlowClient:
    return SlowClient(
        f"The body did not come within {seconds:g} s and a second for each {LEAST_BYTES} bytes. "
        "Send it again, a large file in parts (/v1/uploads)."
    )
