"""A client that costs little: many completions at once over loopback, in one thread.

The official client takes longer for a request than the service does, on the same cores; a load
that is to be measured comes from here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Call:
    """One completion as its client saw it; times are of `time.perf_counter`."""

    began: float
    status: int = 0
    tokens: int = 0
    ended: float = 0.0
    text_times: list[float] = field(default_factory=list)  # of each event with text
    error: str = ""

    @property
    def first_text(self) -> float:
        """Seconds to the first text."""
        return self.text_times[0] - self.began


class Caller:
    """One connection that is kept alive, as a client's pool does."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def complete(self, body: dict[str, Any]) -> Call:
        """Send a completion request and read its whole answer."""
        call = Call(time.perf_counter())
        try:
            status, headers, reader = await self._send(body)
            call.status = status
            if headers.get("transfer-encoding") == "chunked":
                await _read_events(reader, call)
            else:
                content = await reader.readexactly(int(headers["content-length"]))
                _take_answer(json.loads(content), call)
            if headers.get("connection") == "close":
                self.close()
        except (OSError, EOFError, LookupError, ValueError) as error:
            call.error = repr(error)
            self.close()
        call.ended = time.perf_counter()
        return call

    async def abandon(self, body: dict[str, Any], *, after_events: int, seconds: float) -> None:
        """Send a request and hang up in the middle: after some events, or after some time."""
        try:
            async with asyncio.timeout(seconds):
                status, _, reader = await self._send(body)
                while status == 200 and after_events > 0:
                    line = await reader.readline()
                    after_events -= line.startswith(b"data:")
                    if not line:
                        break
        except (TimeoutError, OSError, EOFError, LookupError):
            pass
        self.close()

    async def _send(self, body: dict[str, Any]) -> tuple[int, dict[str, str], asyncio.StreamReader]:
        if self._writer is None or self._reader is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        content = json.dumps(body).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        status = int((await self._reader.readline()).split()[1])
        headers = {}
        while (line := await self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip().lower()
        return status, headers, self._reader

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _read_events(reader: asyncio.StreamReader, call: Call) -> None:
    while True:
        size = int((await reader.readline()).strip(), 16)
        chunk = (await reader.readexactly(size + 2))[:-2]
        if not size:
            return
        for line in chunk.split(b"\n"):
            if line.startswith(b"data: {"):
                _take_event(json.loads(line[6:]), call)


def _take_event(value: dict[str, Any], call: Call) -> None:
    if "error" in value:
        call.error = value["error"]["code"]
    elif value["choices"]:
        call.text_times.append(time.perf_counter())
    if value.get("usage"):
        call.tokens = value["usage"]["completion_tokens"]


def _take_answer(value: dict[str, Any], call: Call) -> None:
    if "error" in value:
        call.error = value["error"]["code"]
    else:
        call.tokens = value["usage"]["completion_tokens"]
        call.text_times.append(time.perf_counter())


def make_body(
    model: str, tokens: int, *, stream: bool, seed: int, prompt: str = "Some "
) -> dict[str, Any]:
    """A completion request of exactly so many tokens."""
    body: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": tokens, "seed": seed}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


async def closed_loop(
    port: int, key: str, clients: int, seconds: float, body: Callable[[], dict[str, Any]]
) -> list[Call]:
    """Each client sends its next request when it has its answer."""
    until = time.perf_counter() + seconds
    calls: list[Call] = []

    async def one() -> None:
        caller = Caller(port, key)
        while time.perf_counter() < until:
            calls.append(await caller.complete(body()))
        caller.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return calls


async def arrivals(
    port: int, key: str, pauses: list[float], body: Callable[[], dict[str, Any]]
) -> list[Call]:
    """Requests that come when they come, however many are open."""
    idle: list[Caller] = []
    tasks = []

    async def one() -> Call:
        caller = idle.pop() if idle else Caller(port, key)
        call = await caller.complete(body())
        idle.append(caller)
        return call

    for pause in pauses:
        await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(one()))
    calls = await asyncio.gather(*tasks)
    for caller in idle:
        caller.close()
    return list(calls)
