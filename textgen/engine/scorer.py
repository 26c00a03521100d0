"""The log-probabilities of a step's tokens, for the rows that want them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from torch import Tensor

from textgen.engine.logprobs import Scored
from textgen.engine.requests import Answer
from textgen.engine.vocabulary import Vocabulary


class Scorer:
    """Remembers the logits of a step before its options change them, then reads them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._names = vocabulary.names
        self._rows: list[int] = []
        self._most: list[int] = []
        self._logits: Tensor | None = None  # (U, columns)

    def look(self, answers: Sequence[Answer], logits: Tensor) -> None:
        """Take a copy of those ``logits`` (R, columns) that are needed."""
        self._rows = [row for row, each in enumerate(answers) if each.request.scored]
        self._most = [answers[row].request.logprobs or 0 for row in self._rows]
        self._logits = logits[self._rows] if self._rows else None

    def read(self, tokens: Tensor) -> dict[int, Scored]:
        """The log-probabilities of the rows' ``tokens`` (R,), by row."""
        if self._logits is None:
            return {}
        chances = self._logits[:, : len(self._names)].double().log_softmax(1)
        taken = tokens[self._rows]
        own = chances.gather(1, taken[:, None])[:, 0].tolist()
        top = chances.topk(min(max(self._most), len(self._names)), 1)
        columns = (self._rows, self._most, taken.tolist(), own)
        likeliest = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return {
            row: self._scored(token, logprob, islice(zip(*pair, strict=True), most))
            for row, most, token, logprob, pair in zip(*columns, likeliest, strict=True)
        }

    def first(self, token: int) -> Scored:
        """The first token of a text that nothing stands before."""
        return Scored(token, self._names[token], None, None)

    def _scored(self, token: int, logprob: float, top: islice[tuple[int, float]]) -> Scored:
        found: dict[str, float] = {}
        for each, value in top:  # the likeliest first: of two that look alike it counts
            found.setdefault(self._names[each], value)
        found.setdefault(self._names[token], logprob)
        return Scored(token, self._names[token], logprob, found)
