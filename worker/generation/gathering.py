"""What has been written and has not left the engine process yet.

The engine gives out a request's first text and its last by itself, and what lies between when it is
asked. A stream's first text leaves at once and what follows is gathered until its next beat, so
that a step costs no message for each text; an answer that is
wanted whole leaves in large pieces. The last piece of either leaves at once; where many requests
are open, within a fifth of a beat, together with others. Streams have their beats in turns: if all
readers woke at the same moment, they would take the engine's core from it.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from textgen.engine.requests import Delta
from worker.contracts import ChoiceDelta, GenerateRequest, TokenLogprob, Usage
from worker.generation.engine_metrics import EngineMetrics
from worker.generation.request_trace import RequestTrace

BEAT_SECONDS = 0.05  # between two pieces of a stream
PHASES = 5  # of a beat; a stream has its own
MANY = 100  # open requests at which urgent pieces wait for each other as long as a phase takes
WHOLE_BEAT_SECONDS = 1.0  # between two pieces of an answer that nobody reads before its end

# (request id, deltas, usage, error); the last one of a request has a usage or an error
Report = tuple[str, tuple[ChoiceDelta, ...], Usage | None, dict[str, Any] | None]


@dataclass(slots=True)
class _Open:
    """A request that the engine works on."""

    stream: bool
    phase: int
    n: int
    unfinished: int  # choices
    begun: bool = False  # whether some text has left
    deltas: dict[int, ChoiceDelta] = field(default_factory=dict)  # by choice, joined
    prompt_tokens: int = 0
    completion_tokens: int = 0
    interactive: bool = True
    arrived: float = field(default_factory=time.monotonic)
    trace: RequestTrace | None = None
    writing: set[int] = field(default_factory=set)  # choices that have had a token
    read: set[int] = field(default_factory=set)  # prompts of which something has come


def pause(requests: int) -> float:
    """Seconds between two messages while so many requests are open.

    Where many are, something is urgent in each moment, and a message for each would take more
    time than what it says. With a few there is next to no pause.
    """
    return BEAT_SECONDS / PHASES * min(1.0, requests / MANY)


class Gathering:
    """The open requests of an engine process.

    ``tell`` gives the deltas of a request that no step has given. What passes is measured.
    """

    def __init__(
        self,
        tell: Callable[[str], Iterable[Delta]] = lambda _: (),
        metrics: EngineMetrics | None = None,
    ) -> None:
        self._tell = tell
        self._metrics = EngineMetrics() if metrics is None else metrics
        self._open: dict[str, _Open] = {}
        self._urgent: set[str] = set()  # with a first or a last piece
        self._begun = 0
        self._phase = 0  # how many have passed
        self._whole_beat = 0.0
        self._left = float("-inf")  # when something last left

    def begin(self, request: GenerateRequest, *, interactive: bool = True) -> None:
        """From now on there may be deltas of this request."""
        choices = len(request.prompts) * request.n
        self._begun += 1
        phase = self._begun % PHASES
        trace = RequestTrace.of(request) if request.traceparent else None
        self._open[request.id] = _Open(
            request.stream, phase, request.n, choices, interactive=interactive, trace=trace
        )

    def forget(self, request_id: str) -> None:
        """Drop a request that was stopped."""
        entry = self._open.get(request_id)
        if entry is not None:
            self._metrics.stopped(entry.unfinished)
        self.drop(request_id, "stopped")

    def drop(self, request_id: str, why: str) -> None:
        """Drop a request that was refused, or stopped."""
        entry = self._open.pop(request_id, None)
        self._urgent.discard(request_id)
        if entry is not None and entry.trace is not None:
            entry.trace.end(entry.prompt_tokens, entry.completion_tokens, failed=why)

    def add(self, delta: Delta) -> None:
        """Take in what a step has brought; its id is the request's, a slash, and the choice."""
        request_id, _, index = delta.id.rpartition("/")
        entry = self._open.get(request_id)
        if entry is None:
            return
        new = _choice_delta(int(index), delta)
        prompt = new.index // entry.n
        if prompt not in entry.read:  # a prompt counts once, however many choices it has
            entry.read.add(prompt)
            new.prompt_tokens = delta.prompt_tokens
            entry.prompt_tokens += delta.prompt_tokens
        before = entry.deltas.get(new.index)
        entry.deltas[new.index] = new if before is None else before.joined(new)
        if new.tokens:
            entry.completion_tokens += new.tokens
            self._metrics.tokens(new.tokens)
            if new.index not in entry.writing:
                entry.writing.add(new.index)
                self._metrics.first_token(entry.arrived, interactive=entry.interactive)
                if entry.trace is not None:
                    entry.trace.begins()
        if new.finish_reason is not None:
            entry.unfinished -= 1
            prompt_tokens = delta.prompt_tokens if new.index % entry.n == 0 else 0
            self._metrics.ended(
                entry.arrived, new.finish_reason, prompt_tokens, interactive=entry.interactive
            )
        if not entry.unfinished or (entry.stream and not entry.begun):
            self._urgent.add(request_id)

    def due(self, now: float, *, at_rest: bool = False) -> list[Report]:
        """What is to leave at this time, in seconds of a clock that never goes back.

        ``at_rest``: no step follows that would bring more.
        """
        names: set[str] = set()
        if self._urgent and (at_rest or now - self._left >= pause(len(self._open))):
            names, self._urgent = self._urgent, names
        phase = int(now * PHASES / BEAT_SECONDS)
        if phase != self._phase:
            due = {each % PHASES for each in range(max(self._phase, phase - PHASES), phase)}
            self._phase = phase
            names |= {
                name for name, each in self._open.items() if each.stream and each.phase in due
            }
        if now - self._whole_beat >= WHOLE_BEAT_SECONDS:
            self._whole_beat = now
            names = set(self._open)
        for name in names:
            for delta in self._tell(name):
                self.add(delta)
        reports = [self._take(name) for name in names if self._open[name].deltas]
        if reports:
            self._left = now
        return reports

    def _take(self, name: str) -> Report:
        entry = self._open[name]
        deltas = tuple(entry.deltas.values())
        if not entry.unfinished:
            del self._open[name]
            self._urgent.discard(name)
            if entry.trace is not None:
                entry.trace.end(entry.prompt_tokens, entry.completion_tokens)
            return name, deltas, Usage(entry.prompt_tokens, entry.completion_tokens), None
        entry.deltas, entry.begun = {}, True
        self._urgent.discard(name)
        return name, deltas, None, None


def _choice_delta(index: int, delta: Delta) -> ChoiceDelta:
    vector = None
    if delta.vector is not None:
        vector = base64.b64encode(delta.vector.astype("<f4").tobytes()).decode()
    logprobs = tuple(
        TokenLogprob(each.token, each.text, each.logprob, each.top, each.offset)
        for each in delta.logprobs
    )
    if delta.alternatives:
        logprobs = tuple(
            TokenLogprob(each.token, each.text, math.log(each.probability))
            for each in delta.alternatives
        )
    return ChoiceDelta(
        index,
        delta.text,
        delta.tokens,
        delta.finish_reason,
        delta.chances,
        vector,
        logprobs,
        delta.mean_logprob,
        None if delta.state is None else delta.state.pack(),
        delta.echoed,
    )
