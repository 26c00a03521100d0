"""One POST to a checked address: no redirects, no proxies, bounded in time and size."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Self

from worker.webhooks.destinations import Allowed, Destination, UnreachableDestination, resolve

TOTAL_SECONDS = 15.0
STEP_SECONDS = 10.0
MOST_READ = 64 * 1024  # of an answer; nobody looks at it
USER_AGENT = "textgen-webhooks/1"


class _Alarm:
    """The end of a delivery's time, whatever it is doing: its connection is broken off.

    The alarm has a descriptor of the connection for itself: the connection's own is handed from
    object to object as TLS begins and as the answer is read, and is closed at some time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._raw: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._raw is not None:
                self._raw.close()
                self._raw = None

    def connect(self, place: Destination) -> socket.socket:
        """A connection that the alarm breaks off; raises OSError."""
        self.check()
        left = self._ends_at - time.monotonic()
        address = (place.address, place.port)
        raw = socket.create_connection(address, max(0.001, min(STEP_SECONDS, left)))
        try:
            with self._lock:
                self._raw = raw.dup()
            self.check()  # it may have rung before there was anything to break off
        except BaseException:
            raw.close()
            raise
        return raw

    def check(self) -> None:
        """Raise TimeoutError when the time is over: what is broken off may look like an end."""
        if time.monotonic() >= self._ends_at:
            raise TimeoutError(f"it took longer than {self._seconds:g} s")

    def _ring(self) -> None:
        with self._lock, suppress(OSError):
            if self._raw is not None:
                self._raw.shutdown(socket.SHUT_RDWR)


class _Https(http.client.HTTPSConnection):
    """TLS for the host's name, to an address that was checked."""

    def __init__(self, place: Destination, alarm: _Alarm, context: ssl.SSLContext) -> None:
        super().__init__(place.host, place.port, timeout=STEP_SECONDS, context=context)
        self._place = place
        self._alarm = alarm
        self._tls = context

    def connect(self) -> None:
        raw = self._alarm.connect(self._place)
        try:
            self.sock = self._tls.wrap_socket(raw, server_hostname=self._place.host)
        except BaseException:
            raw.close()
            raise


class _Http(http.client.HTTPConnection):
    """For hosts of the operator's own."""

    def __init__(self, place: Destination, alarm: _Alarm) -> None:
        super().__init__(place.host, place.port, timeout=STEP_SECONDS)
        self._place = place
        self._alarm = alarm

    def connect(self) -> None:
        self.sock = self._alarm.connect(self._place)


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
        with _Alarm(self._total) as alarm:
            place = resolve(url, self._allowed)
            connection = self._connection(place, alarm)
            try:
                connection.request("POST", _target(place), body, _all_headers(headers, body))
                with connection.getresponse() as answer:
                    answer.read(MOST_READ)
                alarm.check()
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise UnreachableDestination(
                    f"No answer from {place.host}: {_short(error)}"
                ) from None
            finally:
                connection.close()
        return answer.status

    def _connection(self, place: Destination, alarm: _Alarm) -> http.client.HTTPConnection:
        if place.url.scheme != "https":
            return _Http(place, alarm)
        return _Https(place, alarm, _default_context() if self._context is None else self._context)


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


def _short(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
