"""No passage of the training text longer than so many characters: tokens that would make one.

The text that a request has drawn is followed character by character; the prompt is not part of it.
A copy of more than N characters is N - W + 1 passages of W + 1 in a row, all of which the index of
the training text has, W being the model's ``copy_index``. For N = W that is exact, but for the
index's few errors, which only forbid a token too many; for larger N a text is also stopped where
its passages come from different places.
"""

from __future__ import annotations

import codecs
from collections import deque

import numpy as np
import numpy.typing as npt

from textgen.corpus.copy_index import BASE, MASK, CopyIndex
from textgen.engine.guard import Guard
from textgen.engine.vocabulary import Ids, Vocabulary
from textgen.errors import InvalidOption

_NONE = np.empty(0, np.int64)
_BASE = np.uint64(BASE)


class Copies(Guard):
    """``reject_if_copied_over``: at most ``longest`` characters in a row are copied."""

    def __init__(self, longest: int, index: CopyIndex, vocabulary: Vocabulary) -> None:
        self._index = index
        self._vocabulary = vocabulary
        self._limit = longest - index.window + 2  # passages in a row that are too many
        self._run = 0  # passages in a row that the training text has, the last ending here
        self._top = pow(BASE, index.window, 2**64)
        self._hashes: deque[int] = deque([0], maxlen=index.window)  # of the text's beginnings
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def banned(self) -> Ids:
        """The tokens that would complete too long a copy."""
        found = [
            tokens[self._completes(points)]
            for tokens, points in self._endings()
            if self._run + points.shape[1] >= self._limit
        ]
        return np.concatenate(found) if found else _NONE

    def push(self, token: int) -> None:
        """Follow the characters that the token completes."""
        text = self._decoder.decode(self._vocabulary.pieces[token])
        for character in text:
            point = np.array([[ord(character)]], np.uint64)
            self._run = int(self._follow(point)[0, 0])
            self._hashes.append((self._hashes[-1] * BASE + ord(character) + 1) & MASK)

    def _completes(self, points: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        completes: npt.NDArray[np.bool_] = np.any(self._follow(points) >= self._limit, axis=1)
        return completes

    def _follow(self, points: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The run behind each of the characters (U, C) that U tokens would add."""
        runs = np.full(points.shape, self._run)
        added = [np.full(len(points), self._hashes[-1], np.uint64)]
        for place in range(points.shape[1]):
            added.append(added[-1] * _BASE + points[:, place] + np.uint64(1))
            back = self._index.window - place - 1  # from the text's end to the passage's beginning
            if back >= len(self._hashes):
                runs[:, place] = 0
                continue
            if back >= 0:
                start = np.array([self._hashes[-back - 1] * self._top & MASK], np.uint64)
            else:
                start = added[-back] * np.uint64(self._top)
            passages = added[-1] - start
            before = runs[:, place - 1] if place else self._run
            runs[:, place] = np.where(self._index.has(passages), before + 1, 0)
        return runs

    def _endings(self) -> list[tuple[Ids, npt.NDArray[np.uint64]]]:
        pending = self._decoder.getstate()[0]
        key = ("endings", pending)
        found: list[tuple[Ids, npt.NDArray[np.uint64]]] = self._vocabulary.shared(
            key, lambda: _endings(pending, self._vocabulary)
        )
        return found


def _endings(pending: bytes, vocabulary: Vocabulary) -> list[tuple[Ids, npt.NDArray[np.uint64]]]:
    """The characters that each token completes after these bytes, by how many they are."""
    by_length: dict[int, list[tuple[int, str]]] = {}
    for token, piece in enumerate(vocabulary.pieces):
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(pending + piece)
        if text:
            by_length.setdefault(len(text), []).append((token, text))
    return [
        (
            np.array([token for token, _ in found]),
            np.array([[ord(each) for each in text] for _, text in found], np.uint64),
        )
        for found in by_length.values()
    ]


def checked_index(longest: int, index: CopyIndex | None) -> CopyIndex:
    """The model's index; InvalidOption where it has none, or none for copies so short."""
    if index is None:
        raise InvalidOption(
            "'reject_if_copied_over' is given, but this model has no index of its training text. "
            "Leave it out, or train with the hyperparameter copy_index, for example "
            f"copy_index={max(longest, 16)}.",
            code="no_copy_index",
            param="reject_if_copied_over",
        )
    if longest < index.window - 1:
        raise InvalidOption(
            f"'reject_if_copied_over' is {longest}; this model was trained with "
            f"copy_index={index.window - 1}, so it must be {index.window - 1} or more.",
            param="reject_if_copied_over",
        )
    return index
