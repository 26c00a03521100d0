"""What both clients do around a request, apart from sending it: headers, patience, errors."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Protocol, TypeVar

import httpx

from textgen.client.calls import Call
from textgen.client.errors import InvalidRequest, ServiceFailed, ServiceUnreachable, error_of

T = TypeVar("T")
TIMEOUT = httpx.Timeout(connect=5, read=120, write=120, pool=5)
TRIES = 4
LONGEST_WAIT = 30.0
STATUSES = frozenset({408, 429, 502, 503, 504})  # that may be otherwise in a moment


def on_loopback(base_url: str) -> bool:
    """Whether an address is this machine's own: no proxy is asked for it, nor told its key."""
    host = httpx.URL(base_url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Configured(Protocol):
    """What knows a service's address and key, as the official client does."""

    @property
    def base_url(self) -> Any:
        """With /v1."""

    @property
    def api_key(self) -> str:
        """The key."""


class Exchange:
    """One call, tried until it is answered or patience ends."""

    def __init__(self, base_url: str, api_key: str, call: Call[Any]) -> None:
        self._call = call
        self._url = base_url
        self._tries = 0
        self._headers = {"Authorization": f"Bearer {api_key}"}
        if call.once:
            self._headers["Idempotency-Key"] = uuid.uuid4().hex

    def arguments(self) -> dict[str, Any]:
        """What httpx is told to send."""
        call = self._call
        arguments: dict[str, Any] = {
            "method": call.method,
            "url": self._url + call.path,
            "headers": self._headers,
        }
        if call.file is not None:
            return {**arguments, "data": call.body, "files": {call.file_field: call.file}}
        return arguments if call.body is None else {**arguments, "json": dict(call.body)}

    def failed(self, error: httpx.TransportError) -> float:
        """Seconds to wait before another try; raises ServiceUnreachable after the last."""
        self._tries += 1
        if self._tries >= TRIES:
            raise ServiceUnreachable(
                f"No textgen service answers at {self._url} ({error or type(error).__name__}). "
                "Start it with `textgen up`, or give another base_url."
            ) from error
        return 0.5 * 2.0**self._tries

    def wait(self, response: httpx.Response) -> float | None:
        """Seconds to wait before another try; None where the answer is the answer."""
        self._tries += 1
        if response.status_code not in STATUSES or self._tries >= TRIES:
            return None
        if response.headers.get("x-should-retry") == "false":
            return None
        return min(seconds_of(response.headers), LONGEST_WAIT)


def seconds_of(headers: Mapping[str, str]) -> float:
    """How long the service wants to be left alone."""
    try:
        return max(0.0, float(headers.get("retry-after", "1")))
    except ValueError:
        return 1.0


def read(call: Call[T], response: httpx.Response, base_url: str) -> T:
    """The answer; raises what the service says instead of one."""
    check(response, base_url)
    try:
        answer = response.json()
    except ValueError:
        raise no_service(response, base_url, "JSON") from None
    return call.read(answer)


def check(response: httpx.Response, base_url: str) -> None:
    """Raise ApiError for an answer that is none, a redirect too: a key stays where it was given."""
    if response.is_success:
        return
    request_id = response.headers.get("x-request-id")
    if response.next_request is not None:
        address = str(response.next_request.url)
        base = address.removesuffix(str(response.request.url).removeprefix(base_url))
        raise InvalidRequest(
            f"{base_url} redirects to {base}. Give that address as base_url.",
            status=response.status_code,
            code="redirected",
            request_id=request_id,
        )
    try:
        body = response.json()
    except ValueError:
        body = None
    raise error_of(response.status_code, body, request_id)


def no_service(response: httpx.Response, base_url: str, wanted: str) -> ServiceFailed:
    """The error for a success that does not say what the service would."""
    return ServiceFailed(
        f"What answers at {base_url} is no textgen service: the answer is not {wanted}. Give "
        "another base_url.",
        status=response.status_code,
        code="foreign_answer",
        request_id=response.headers.get("x-request-id"),
    )
