"""The states that requests want to have at their end, between the first token and the last."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from torch import Tensor

from textgen.engine.reading import Prompts, Ready
from textgen.engine.requests import NOTHING_LEFT, Answer, Delta
from textgen.engine.rows import Rows
from textgen.engine.states import Ending, StateTracker
from textgen.tokenizers import Tokenizer


class StateKeeper:
    """Follows the requests that want a state; ``shape`` (2, L, H) is that of the model's states.

    ``numerics`` names how they are computed.

    A state that is not at hand when its text ends is read among the prompts, so that nobody waits
    for it but the request itself, whose last delta is kept here meanwhile.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rows: Rows,
        prompts: Prompts,
        shape: tuple[int, int, int],
        numerics: str,
    ) -> None:
        self._tokenizer = tokenizer
        self._end = tokenizer.end_id
        self._rows = rows
        self._prompts = prompts
        self._shape = shape
        self._numerics = numerics
        self._trackers: dict[str, StateTracker] = {}
        self._endings: dict[str, tuple[Delta, Ending]] = {}

    def waits(self, request_id: str) -> bool:
        """Whether a request has ended but for its state."""
        return request_id in self._endings

    def forget(self, request_id: str) -> None:
        """Drop a request that was cancelled."""
        self._trackers.pop(request_id, None)
        self._endings.pop(request_id, None)

    def ready(self, ready: Ready) -> Delta | None:
        """The last delta, where it waited for what was read; else the text begins."""
        request = ready.answer.request
        if request.id in self._endings:
            delta, ending = self._endings.pop(request.id)
            return replace(delta, state=ending.state(ready.state, self._shape, self._numerics))
        if request.return_state:
            tokens = ready.length
            if request.start is not None:  # whose last token was read again
                tokens += request.start.tokens - 1
            pending = ready.answer.pending
            tracker = StateTracker(self._tokenizer, ready.state, ready.token, tokens, pending)
            self._trackers[request.id] = tracker
        return None

    def follow(self, row: int, answer: Answer, token: int, delta: Delta | None) -> Delta | None:
        """Note a row's drawn token; its last delta with the state, None where it has to wait."""
        tracker = self._trackers[answer.request.id]
        given = 0 if delta is None else len(delta.text)
        reason = None if delta is None else delta.finish_reason
        # What ends a text is no part of it, unless it is shown; the end of a document is nothing.
        shown = answer.request.options.include_stop_str_in_output and token != self._end
        ends = token == NOTHING_LEFT or answer.ends_by(token)
        if not ends or (shown and token != NOTHING_LEFT):
            tracker.took(token, given)
        if reason == "length" or (reason is None and tracker.due):
            tracker.keep(self._rows.get(row))
        if delta is None or reason is None:
            return delta
        return self.close(answer, delta)

    def close(self, answer: Answer, delta: Delta) -> Delta | None:
        """The last delta with the state at the end of what was drawn; None where it has to wait."""
        ending = self._trackers.pop(answer.request.id).end(stopped=answer.cut)
        if len(ending.ids) == 1:
            return replace(delta, state=ending.state(ending.values, self._shape, self._numerics))
        self._endings[answer.request.id] = (delta, ending)
        self._prompts.add(answer, np.array(ending.ids), ending.values, _key(ending.values))
        return None


def _key(values: Tensor | None) -> bytes:
    """What names a state that prompts are read from; empty for zeros."""
    if values is None:
        return b""
    return hashlib.blake2b(values.cpu().numpy().tobytes(), digest_size=16).digest()
