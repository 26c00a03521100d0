"""What has been written and has not left the engine process yet.

The engine gives out a delta for every token. A stream's first text leaves at once and what follows
is gathered until its next beat, so that a step costs no message for each text; an answer that is
wanted whole leaves in large pieces. The last piece of either leaves at once. Streams have their
beats in turns: if all readers woke at the same moment, they would take the engine's core from it.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import Any

from textgen.engine.requests import Delta
from worker.contracts import ChoiceDelta, GenerateRequest, TokenLogprob, Usage

BEAT_SECONDS = 0.05  # between two pieces of a stream
PHASES = 5  # of a beat; a stream has its own
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


class Gathering:
    """The open requests of an engine process."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._urgent: set[str] = set()  # with a first or a last piece
        self._begun = 0
        self._phase = 0  # how many have passed
        self._whole_beat = 0.0

    def begin(self, request: GenerateRequest) -> None:
        """From now on there may be deltas of this request."""
        choices = len(request.prompts) * request.n
        self._begun += 1
        phase = self._begun % PHASES
        self._open[request.id] = _Open(request.stream, phase, request.n, choices)

    def forget(self, request_id: str) -> None:
        """Drop a request that was stopped or refused."""
        self._open.pop(request_id, None)
        self._urgent.discard(request_id)

    def add(self, delta: Delta) -> None:
        """Take in what a step has brought; its id is the request's, a slash, and the choice."""
        request_id, _, index = delta.id.rpartition("/")
        entry = self._open.get(request_id)
        if entry is None:
            return
        new = _choice_delta(int(index), delta)
        before = entry.deltas.get(new.index)
        entry.deltas[new.index] = new if before is None else before.joined(new)
        entry.completion_tokens += new.tokens
        if new.finish_reason is not None:
            entry.unfinished -= 1
            if new.index % entry.n == 0:  # a prompt counts once, however many choices it has
                entry.prompt_tokens += delta.prompt_tokens
        if not entry.unfinished or (entry.stream and not entry.begun):
            self._urgent.add(request_id)

    def due(self, now: float) -> list[Report]:
        """What is to leave at this time, in seconds of a clock that never goes back."""
        names = self._urgent
        self._urgent = set()
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
        return [self._take(name) for name in names if self._open[name].deltas]

    def _take(self, name: str) -> Report:
        entry = self._open[name]
        deltas = tuple(entry.deltas.values())
        if not entry.unfinished:
            del self._open[name]
            return name, deltas, Usage(entry.prompt_tokens, entry.completion_tokens), None
        entry.deltas, entry.begun = {}, True
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
    )
