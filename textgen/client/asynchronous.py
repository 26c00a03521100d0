"""The client whose methods are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from textgen.client import calls, workflows
from textgen.client.calls import Call
from textgen.client.errors import ApiError, JobEnded
from textgen.client.exchange import TIMEOUT, Configured, Exchange, on_loopback, read
from textgen.client.following import EVENTS_REMOVED, Following
from textgen.client.shapes import Event, Job
from textgen.client.workflows import Progress, Steps, Wait
from textgen.errors import TextgenError

P = ParamSpec("P")
T = TypeVar("T")


def _sends(call: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncTextgen, P], Awaitable[T]]:
    @wraps(call)
    async def method(self: AsyncTextgen, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(call(*args, **kwargs))

    return method


def _runs(workflow: Callable[P, Steps[T]]) -> Callable[Concatenate[AsyncTextgen, P], Awaitable[T]]:
    @wraps(workflow)
    async def method(self: AsyncTextgen, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(workflow(*args, **kwargs))

    return method


class AsyncTextgen:
    """`Textgen` for asyncio; each belongs to one event loop. Close it, or use ``async with``."""

    def __init__(
        self, base_url: str, api_key: str, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT, transport=transport, trust_env=not on_loopback(self.base_url)
        )

    @classmethod
    def beside(cls, client: Configured) -> Self:
        """The service that an ``openai.AsyncOpenAI`` talks to, with its key."""
        return cls(str(client.base_url), client.api_key)

    next_tokens = _sends(calls.next_tokens)
    insert = _sends(calls.insert)
    classify = _sends(calls.classify)
    tokenize = _sends(calls.tokenize)
    state = _sends(calls.state)
    delete_state = _sends(calls.delete_state)
    score = _sends(calls.score)
    get_score = _sends(calls.get_score)
    evaluate = _sends(calls.evaluate)
    get_evaluation = _sends(calls.get_evaluation)
    examine = _sends(calls.examine)
    get_examination = _sends(calls.get_examination)
    job = _sends(calls.job)
    cancel = _sends(calls.cancel)
    pause = _sends(calls.pause)
    resume = _sends(calls.resume)
    retry = _sends(calls.retry)
    write = _runs(workflows.write)
    scores = _runs(workflows.scores)
    evaluation = _runs(workflows.evaluation)
    report = _runs(workflows.report)
    doctor = _runs(workflows.doctor)
    traces = _runs(workflows.traces)
    upload_rows = _runs(workflows.upload_rows)

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        """A job's events behind number ``after``, as they come, until its end.

        A broken connection is taken up again where it broke, for a minute and a half.
        """
        following = Following(self.base_url, self.api_key, job_id, after)
        while not following.ended:
            try:
                async with self._http.stream(**following.arguments()) as response:
                    if not following.streams(response):
                        await response.aread()
                        await asyncio.sleep(following.refused(response))
                        continue
                    async for line in response.aiter_lines():
                        if (event := following.take(line)) is not None:
                            yield event
                if not following.ended:
                    await asyncio.sleep(following.broke_off(None))
            except httpx.TransportError as error:
                await asyncio.sleep(following.broke_off(error))

    async def wait(
        self, job_id: str, *, on_event: Callable[[Event], object] = lambda _: None
    ) -> Job:
        """The job once it has succeeded, of whatever kind; raises JobEnded where it did not.

        Of one that ended so long ago that its events were removed, no event is told.
        """
        try:
            async for event in self.events(job_id):
                on_event(event)
        except ApiError as error:
            if error.code != EVENTS_REMOVED:
                raise
        ended = await self.job(job_id)
        if ended.state != "succeeded":
            raise JobEnded(ended)
        return ended

    async def send(self, call: Call[T]) -> T:
        """Send one request and read the answer."""
        exchange = Exchange(self.base_url, self.api_key, call)
        while True:
            try:
                response = await self._http.request(**exchange.arguments())
            except httpx.TransportError as error:
                await asyncio.sleep(exchange.failed(error))
                continue
            seconds = exchange.wait(response)
            if seconds is None:
                return read(call, response, self.base_url)
            await asyncio.sleep(seconds)

    async def _run(self, steps: Steps[T]) -> T:
        progress = Progress(steps)
        while (wanted := progress.wanted) is not None:
            try:
                progress.did(await self._do(wanted))
            except TextgenError as error:
                progress.failed(error)
        return progress.result

    async def _do(self, wanted: Call[Any] | Wait) -> Any:
        if isinstance(wanted, Wait):
            return await self.wait(wanted.job_id)
        return await self.send(wanted)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.close()
