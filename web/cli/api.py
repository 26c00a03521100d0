"""The server as the command line sees it: found, called, its errors said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import httpx

from textgen.errors import TextgenError
from web.cli.language import _, language
from worker.settings import Settings, load_settings
from worker.stack.home_lock import read_stack

TIMEOUT = httpx.Timeout(connect=5, read=120, write=120, pool=5)


class ServerUnreachable(TextgenError):
    """Nothing answers; the message says how to start a server."""

    default_code = "server_unreachable"


class RequestFailed(TextgenError):
    """The server refused the request or failed at it; ``status`` is HTTP's."""

    default_code = "request_failed"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None,
        param: str | None,
        doc_url: str | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status
        self.doc_url = doc_url


@dataclass(frozen=True)
class Server:
    """Where a server is and the key for it."""

    url: str
    key: str


def find_server(settings: Settings) -> Server:
    """The server of the environment, else the one that runs on the home."""
    url = settings.base_url
    if not url:
        url = str(read_stack(settings.home).get("base_url", ""))
    if not url:
        raise ServerUnreachable(
            f"No textgen server runs on {settings.home}. Start one with `textgen up` in another "
            "terminal, or name one: TEXTGEN_BASE_URL=http://… TEXTGEN_API_KEY=…"
        )
    return Server(url.rstrip("/").removesuffix("/v1"), find_key(settings))


def find_key(settings: Settings) -> str:
    """The key of the environment, else the one that the first start wrote; may be empty."""
    for given in (settings.api_key, settings.admin_key):
        if given.get_secret_value():
            return given.get_secret_value()
    for path in (settings.home / "credentials", settings.admin_key_file):
        if path is not None and path.is_file():
            return path.read_text().strip()
    return ""


def connect(timeout: httpx.Timeout = TIMEOUT) -> Api:
    """The API of the server that the environment or the home names."""
    return Api(find_server(load_settings()), timeout=timeout)


class Api:
    """Calls the HTTP API; raises ServerUnreachable and RequestFailed, nothing else."""

    def __init__(
        self,
        server: Server,
        transport: httpx.BaseTransport | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self.server = server
        self._client = httpx.Client(
            base_url=server.url,
            headers={
                "Authorization": f"Bearer {server.key}",
                "Accept-Language": language(),  # in which errors are told
            },
            timeout=timeout,
            transport=transport,
            trust_env=not is_loopback(server.url),
        )

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a resource; query values of None are left out."""
        return self._call("GET", path, params=_present(query))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer to a body."""
        return self._call("POST", path, json={} if body is None else dict(body))

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a replacement."""
        return self._call("PUT", path, json=dict(body))

    def delete(self, path: str) -> Any:
        """The JSON answer to a deletion."""
        return self._call("DELETE", path)

    def upload(self, name: str, file: IO[bytes], purpose: str) -> Any:
        """Store a file; returns the file object."""
        return self.send("/v1/files", name, file, {"purpose": purpose})

    def send(self, path: str, name: str, file: IO[bytes], fields: Mapping[str, str]) -> Any:
        """The JSON answer to a form with a file."""
        return self._call("POST", path, data=dict(fields), files={"file": (name, file)})

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every element of a paged list."""
        after = None
        while True:
            page = self.get(path, after=after, **query)
            yield from page["data"]
            if not page.get("has_more") or not page["data"]:
                return
            after = page["data"][-1]["id"]

    def download(self, path: str, target: IO[bytes]) -> None:
        """Write a resource's bytes to ``target``, in pieces."""
        with self._streamed("GET", path) as response:
            for piece in response.iter_bytes():
                target.write(piece)

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks of a streamed answer; an error within it, or its breaking off, raises."""
        with self._streamed("POST", path, json=dict(body)) as response:
            for line in response.iter_lines():
                if not line.startswith("data:"):
                    continue
                text = line.removeprefix("data:").strip()
                if text == "[DONE]":
                    return
                try:
                    chunk = json.loads(text)
                except ValueError:  # the end of the line is missing
                    break
                if "error" in chunk:
                    raise _refused(200, chunk)
                yield chunk
        raise ServerUnreachable("The answer broke off before its end. Run the command again.")

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        with self._reached():
            response = self._client.request(method, path, **arguments)
        self._check(response)
        return self._parsed(response.content)

    @contextmanager
    def _streamed(self, method: str, path: str, **arguments: Any) -> Iterator[httpx.Response]:
        with self._reached(), self._client.stream(method, path, **arguments) as response:
            if not response.is_success:
                response.read()
                self._check(response)
            yield response

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        if response.next_request is not None:
            address = str(response.next_request.url)
            base = address.removesuffix(str(response.request.url).removeprefix(self.server.url))
            raise RequestFailed(
                f"{self.server.url} redirects to {base}. Set TEXTGEN_BASE_URL to that address.",
                status=response.status_code,
                code="redirected",
                param=None,
            )
        try:
            body = response.json()
        except ValueError:
            body = {}
        raise _refused(response.status_code, body if isinstance(body, dict) else {})

    def _parsed(self, text: str | bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise ServerUnreachable(
                f"What answers at {self.server.url} is no textgen server: the answer is not JSON. "
                "Name another in TEXTGEN_BASE_URL."
            ) from None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise ServerUnreachable(
                f"{self.server.url} took too long to answer. Look at its log, then try again."
            ) from None
        except httpx.TransportError as error:
            raise ServerUnreachable(
                f"No textgen server answers at {self.server.url} ({error}). Start one with "
                "`textgen up`, or name another in TEXTGEN_BASE_URL."
            ) from None


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine: a proxy could not reach it, and is told no key."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def path_of(*parts: str) -> str:
    """A path of /v1, its parts quoted (a model's id may have a slash in it)."""
    return "/v1/" + "/".join(quote(part, safe=":") for part in parts)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _refused(status: int, body: Mapping[str, Any]) -> RequestFailed:
    error = body.get("error")
    details: Mapping[str, Any] = error if isinstance(error, dict) else {}
    message = str(
        details.get("message")
        or _("The server answered with status %(status)s.") % {"status": status}
    )
    if status == 401:
        message += " " + _("The key is TEXTGEN_API_KEY, else the one in $TEXTGEN_HOME/credentials.")
    return RequestFailed(
        message,
        status=status,
        code=details.get("code"),
        param=details.get("param"),
        doc_url=details.get("doc_url"),
    )


def save(api: Api, path: str, target: Path) -> None:
    """Download to a file that appears only when it is whole."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            api.download(path, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
