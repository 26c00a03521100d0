"""What must not come next, by what a text has so far: one guard for each rule of each row.

A guard follows its row's text and names the tokens that may not be drawn next; they are taken out
before any other option looks at the chances. Where none is left, the text ends.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.corpus.copy_index import CopyIndex
from textgen.engine.copy_guard import Copies, checked_index
from textgen.engine.guard import Guard
from textgen.engine.vocabulary import Ids, Vocabulary
from textgen.engine.word_guards import AllowedWords, BadWords
from textgen.options import SamplingOptions

_NONE = np.empty(0, np.int64)
_BASE = 0x9E3779B97F4A7C15  # of the hash of a sequence of tokens
_MASK = 2**64 - 1


class LeastLength(Guard):
    """``min_tokens``: nothing that ends the text is drawn before."""

    def __init__(self, options: SamplingOptions, vocabulary: Vocabulary) -> None:
        self._left = options.min_tokens
        ends = set(options.stop_token_ids)
        self._ends = np.array(
            sorted(ends if options.ignore_eos else ends | {vocabulary.end}), np.int64
        )

    def banned(self) -> Ids:
        """The end, and the ids of ``stop_token_ids``, for so many tokens."""
        return self._ends if self._left > 0 else _NONE

    def push(self, token: int) -> None:  # noqa: ARG002 - all count
        """Count."""
        self._left -= 1


class RepeatedNgrams(Guard):
    """``no_repeat_ngram_size`` N: no N tokens of prompt and text, in a row, that were there before.

    Sequences of N - 1 tokens are told apart by a hash of 64 bits, so that a long prompt costs one
    sort, which its choices share, and each further token one look.
    """

    def __init__(self, size: int, prompt: Ids, vocabulary: Vocabulary) -> None:
        self._recent: deque[int] = deque(prompt[max(len(prompt) - size + 1, 0) :].tolist())
        self._size = size
        key = ("ngrams", size, hashlib.sha256(prompt.tobytes()).digest())
        self._keys, self._next = vocabulary.shared(key, lambda: _followers(size, prompt))
        self._drawn: dict[int, set[int]] = {}  # what followed, by the hash of what was before

    def banned(self) -> Ids:
        """What followed the last N - 1 tokens earlier."""
        if len(self._recent) < self._size - 1:
            return _NONE
        key = self._key()
        first, last = (int(np.searchsorted(self._keys, np.uint64(key), side)) for side in
                       ("left", "right"))  # fmt: skip
        found = set(self._next[first:last].tolist()) | self._drawn.get(key, set())
        return np.array(sorted(found), np.int64)

    def push(self, token: int) -> None:
        """Remember what it followed."""
        if len(self._recent) == self._size - 1:
            self._drawn.setdefault(self._key(), set()).add(token)
        self._recent.append(token)
        if len(self._recent) == self._size:
            self._recent.popleft()

    def _key(self) -> int:
        key = 0
        for token in self._recent:
            key = (key * _BASE + token + 1) & _MASK
        return key


def _followers(size: int, prompt: Ids) -> tuple[npt.NDArray[np.uint64], Ids]:
    """The hashes (N,) of all sequences of ``size`` - 1 tokens, in order, and what follows each."""
    count = max(len(prompt) - size + 1, 0)
    keys = np.zeros(count, np.uint64)
    for offset in range(size - 1):
        keys = keys * np.uint64(_BASE) + (prompt[offset : offset + count] + 1).astype(np.uint64)
    order = np.argsort(keys, kind="stable")
    return keys[order], prompt[size - 1 :][order]


def guards_of(
    options: SamplingOptions, vocabulary: Vocabulary, prompt: Ids, index: CopyIndex | None
) -> list[Guard]:
    """The guards that the options ask for; mostly none."""
    guards: list[Guard] = []
    if options.min_tokens > 0:
        guards.append(LeastLength(options, vocabulary))
    if options.no_repeat_ngram_size > 0:
        guards.append(RepeatedNgrams(options.no_repeat_ngram_size, prompt, vocabulary))
    if options.bad_words:
        guards.append(BadWords(options.bad_words, vocabulary))
    if options.reject_if_copied_over is not None:
        longest = options.reject_if_copied_over
        guards.append(Copies(longest, checked_index(longest, index), vocabulary))
    if options.allowed_words is not None:
        guards.append(AllowedWords(options.allowed_words, vocabulary))
    return guards


class GuardUsers:
    """The guards of all rows that have some."""

    def __init__(self, by_row: Sequence[tuple[int, Sequence[Guard]]]) -> None:
        self._by_row = by_row

    def apply(self, logits: Tensor) -> None:
        """Set the logits (R, V) of what may not be drawn to -inf."""
        rows, tokens = [], []
        for row, guards in self._by_row:
            for guard in guards:
                banned = guard.banned()
                if len(banned):
                    rows.append(np.full(len(banned), row))
                    tokens.append(banned)
        if rows:
            where = (np.concatenate(rows), np.concatenate(tokens))
            logits[tuple(torch.from_numpy(each).to(logits.device) for each in where)] = -torch.inf

    def push(self, tokens: Tensor) -> None:
        """Follow what all rows have drawn (R,)."""
        drawn = tokens.tolist()
        for row, guards in self._by_row:
            for guard in guards if drawn[row] >= 0 else ():
                guard.push(drawn[row])
