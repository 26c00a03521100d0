"""The client whose methods return when they are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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


def _sends(call: Callable[P, Call[T]]) -> Callable[Concatenate[Textgen, P], T]:
    @wraps(call)
    def method(self: Textgen, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(call(*args, **kwargs))

    return method


def _runs(workflow: Callable[P, Steps[T]]) -> Callable[Concatenate[Textgen, P], T]:
    @wraps(workflow)
    def method(self: Textgen, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(workflow(*args, **kwargs))

    return method


class Textgen:
    """A service at ``base_url`` (with /v1). Close it, or use ``with``; threads may share it.

    Raises ApiError and ServiceUnreachable, each with a ``code`` and a ``remedy``. A request that
    was not answered, or too much at once, is sent again a few times; no job is made twice.
    Proxies of the environment (HTTP_PROXY) are used, but not for an address of this machine.
    """

    def __init__(
        self, base_url: str, api_key: str, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self._http = httpx.Client(
            timeout=TIMEOUT, transport=transport, trust_env=not on_loopback(self.base_url)
        )

    @classmethod
    def beside(cls, client: Configured) -> Self:
        """The service that an ``openai.OpenAI`` talks to, with its key."""
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

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Event]:
        """A job's events behind number ``after``, as they come, until its end.

        A broken connection is taken up again where it broke, for a minute and a half.
        """
        following = Following(self.base_url, self.api_key, job_id, after)
        while not following.ended:
            try:
                with self._http.stream(**following.arguments()) as response:
                    if not following.streams(response):
                        response.read()
                        time.sleep(following.refused(response))
                        continue
                    for line in response.iter_lines():
                        if (event := following.take(line)) is not None:
                            yield event
                if not following.ended:
                    time.sleep(following.broke_off(None))
            except httpx.TransportError as error:
                time.sleep(following.broke_off(error))

    def wait(self, job_id: str, *, on_event: Callable[[Event], object] = lambda _: None) -> Job:
        """The job once it has succeeded, of whatever kind; raises JobEnded where it did not.

        Of one that ended so long ago that its events were removed, no event is told.
        """
        try:
            for event in self.events(job_id):
                on_event(event)
        except ApiError as error:
            if error.code != EVENTS_REMOVED:
                raise
        ended = self.job(job_id)
        if ended.state != "succeeded":
            raise JobEnded(ended)
        return ended

    def send(self, call: Call[T]) -> T:
        """Send one request and read the answer."""
        exchange = Exchange(self.base_url, self.api_key, call)
        while True:
            try:
                response = self._http.request(**exchange.arguments())
            except httpx.TransportError as error:
                time.sleep(exchange.failed(error))
                continue
            seconds = exchange.wait(response)
            if seconds is None:
                return read(call, response, self.base_url)
            time.sleep(seconds)

    def _run(self, steps: Steps[T]) -> T:
        progress = Progress(steps)
        while (wanted := progress.wanted) is not None:
            try:
                progress.did(self._do(wanted))
            except TextgenError as error:
                progress.failed(error)
        return progress.result

    def _do(self, wanted: Call[Any] | Wait) -> Any:
        return self.wait(wanted.job_id) if isinstance(wanted, Wait) else self.send(wanted)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()
