"""One POST to a checked address: no redirects, no proxies, bounded in time and size."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

from worker.webhooks.destinations import Allowed, Destination, UnreachableDestination, resolve

TOTAL_SECONDS = 15.0
STEP_SECONDS = 10.0
MOST_READ = 64 * 1024  # of an answer; nobody looks at it
USER_AGENT = "textgen-webhooks/1"


class _Https(http.client.HTTPSConnection):
    """TLS for the host's name, to an address that was checked."""

    def __init__(self, place: Destination, context: ssl.SSLContext) -> None:
        super().__init__(place.host, place.port, timeout=STEP_SECONDS, context=context)
        self._place = place
        self._tls = context

    def connect(self) -> None:
        raw = socket.create_connection((self._place.address, self._place.port), STEP_SECONDS)
        try:
            self.sock = self._tls.wrap_socket(raw, server_hostname=self._place.host)
        except BaseException:
            raw.close()
            raise


class _Http(http.client.HTTPConnection):
    """For hosts of the operator's own."""

    def __init__(self, place: Destination) -> None:
        super().__init__(place.host, place.port, timeout=STEP_SECONDS)
        self._place = place

    def connect(self) -> None:
        address = (self._place.address, self._place.port)
        self.sock = socket.create_connection(address, STEP_SECONDS)


@cache
def _default_context() -> ssl.SSLContext:
    """The certificates of this machine, read when they are first needed: it takes a while."""
    return ssl.create_default_context()


class Sender:
    """Sends; safe to share between threads.

    ``context``: None for the certificates that this machine trusts.
    """

    def __init__(
        self,
        allowed: Allowed,
        *,
        context: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._allowed = allowed
        self._context = context
        self._total = total_seconds

    def check(self, url: str) -> None:
        """Raise ForbiddenDestination where a webhook may not go; unknown hosts may come yet."""
        with suppress(UnreachableDestination):
            resolve(url, self._allowed)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer; raises ForbiddenDestination, UnreachableDestination."""
        place = resolve(url, self._allowed)
        connection = self._connection(place)
        # Each step has its own bound; this is the bound of all together.
        alarm = threading.Timer(self._total, _break_off, [connection])
        alarm.daemon = True
        alarm.start()
        try:
            connection.request("POST", _target(place), body, _all_headers(headers, body))
            answer = connection.getresponse()
            answer.read(MOST_READ)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableDestination(f"No answer from {place.host}: {_short(error)}") from None
        finally:
            alarm.cancel()
            connection.close()
        return answer.status

    def _connection(self, place: Destination) -> http.client.HTTPConnection:
        if place.url.scheme != "https":
            return _Http(place)
        return _Https(place, _default_context() if self._context is None else self._context)


def _target(place: Destination) -> str:
    path = place.url.path if place.url.path else "/"
    return f"{path}?{place.url.query}" if place.url.query else path


def _all_headers(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    return {
        **headers,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": USER_AGENT,
        "Connection": "close",
    }


def _break_off(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _short(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
