"""The prompts that are being read: several together, a chunk a step, equal ones once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from textgen.engine.prefix_cache import KEEP_EVERY, PrefixCache, prefix_keys, text_key
from textgen.engine.prompt_reader import CHUNK, PROMPTS, PromptReader
from textgen.engine.requests import Answer


@dataclass(slots=True)
class _Reading:
    """A prompt that is not read to its last token yet, and the requests that wait for it."""

    answers: dict[str, Answer]  # by id
    context: npt.NDArray[np.int64]
    keys: list[bytes]  # of its multiples of CHUNK
    position: int = 0  # tokens read; always at a multiple of CHUNK
    state: Tensor | None = None  # (2, L, H)

    @property
    def interactive(self) -> bool:
        """Whether somebody waits for it."""
        return any(answer.request.interactive for answer in self.answers.values())

    @property
    def left(self) -> int:
        """Tokens to read; the last is for the first step."""
        return len(self.context) - 1 - self.position


@dataclass(frozen=True, slots=True)
class Ready:
    """A request whose prompt is read: the state (2, L, H; None for zeros) before its last token.

    ``length`` is that of what it had to read, the last token included.
    """

    answer: Answer
    state: Tensor | None
    token: int
    length: int


class Prompts:
    """Requests between their admission and their first token. False when there are none."""

    def __init__(self, reader: PromptReader, cache: PrefixCache) -> None:
        self._reader = reader
        self._cache = cache
        self._readings: dict[bytes, _Reading] = {}  # by the whole text, first the next to be read
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(
        self,
        answer: Answer,
        context: npt.NDArray[np.int64],
        start: Tensor | None = None,
        root: bytes = b"",
    ) -> None:
        """Queue a request that reads ``context``, at least one token.

        ``start`` is the state (2, L, H) that it goes on from, None for zeros; ``root`` names it.
        """
        key = text_key(context, root)
        reading = self._readings.get(key)
        if reading is None:
            reading = self._readings[key] = self._begin(context, start, root)
        reading.answers[answer.request.id] = answer
        self._size += 1

    def remove(self, request_id: str) -> Answer | None:
        """Drop a request; None where it is not here."""
        for key, reading in self._readings.items():
            answer = reading.answers.pop(request_id, None)
            if answer is not None:
                self._size -= 1
                if not reading.answers:
                    del self._readings[key]
                return answer
        return None

    def read(self) -> list[Ready]:
        """Read one chunk of the first prompts, those of interactive requests before others.

        Returns the requests whose prompt is read then.
        """
        in_turn = sorted(self._readings.items(), key=lambda item: not item[1].interactive)
        group = dict(in_turn[:PROMPTS])
        self._advance([reading for reading in group.values() if reading.left])
        ready = []
        for key, reading in group.items():
            del self._readings[key]
            if reading.left:
                # Behind the others, so that a short prompt never waits for a long one.
                self._readings[key] = reading
                continue
            token, length = int(reading.context[-1]), len(reading.context)
            ready += [
                Ready(each, reading.state, token, length) for each in reading.answers.values()
            ]
        self._size -= len(ready)
        return ready

    def _begin(self, context: npt.NDArray[np.int64], start: Tensor | None, root: bytes) -> _Reading:
        keys = prefix_keys(context, root)
        known, state = self._cache.longest(keys)
        return _Reading({}, context, keys, known * CHUNK, state if known else start)

    def _advance(self, group: list[_Reading]) -> None:
        if not group:
            return
        chunks = [
            each.context[each.position : each.position + min(CHUNK, each.left)] for each in group
        ]
        read = self._reader.read(chunks, [each.state for each in group])
        for reading, chunk, (state, _) in zip(group, chunks, read, strict=True):
            reading.position += len(chunk)
            reading.state = state
            if len(chunk) == CHUNK and (reading.left < CHUNK or not reading.position % KEEP_EVERY):
                self._cache.keep(reading.keys[reading.position // CHUNK - 1], state)
