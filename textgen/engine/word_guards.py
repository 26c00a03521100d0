"""Words that a text must not contain, or must be made of, whatever tokens it is written with.

Both follow the bytes of the text through an automaton of the words. Which tokens are wrong in a
state is worked out once for each state that comes up, and shared by all texts with these words.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np

from textgen.engine.guard import Guard
from textgen.engine.stopping import StopAutomaton
from textgen.engine.vocabulary import Ids, Vocabulary

Table = TypeVar("Table")
State = TypeVar("State")
_REMEMBERED = 1 << 22  # tokens at most, over all states of one set of words
_NONE = np.empty(0, np.int64)


class BadWords(Guard):
    """``bad_words``: the text contains none of them. The prompt's end does not count."""

    def __init__(self, words: tuple[str, ...], vocabulary: Vocabulary) -> None:
        self._table = _shared(vocabulary, ("bad", words), lambda: _BadTable(words, vocabulary))
        self._state = 0

    def banned(self) -> Ids:
        """The tokens that would complete one."""
        return self._table.banned(self._state)

    def push(self, token: int) -> None:
        """Follow the token's bytes."""
        self._state = self._table.after(self._state, token)


class _BadTable:
    def __init__(self, words: tuple[str, ...], vocabulary: Vocabulary) -> None:
        # One character for each byte, so that a token may end within a character of a word.
        self._automaton = StopAutomaton([_bytes_as_text(word.encode()) for word in words])
        self._vocabulary = vocabulary
        self._pieces = [_bytes_as_text(piece) for piece in vocabulary.pieces]
        self._groups: dict[tuple[str, int], Ids] = {}
        self._banned: dict[int, Ids] = {}

    def banned(self, state: int) -> Ids:
        if state not in self._banned:
            _make_room(self._banned, self._vocabulary)
            # Most first bytes lead to where they lead from anywhere, so their tokens are looked
            # at once.
            groups = [
                self._group(chr(byte), self._automaton.next(state, chr(byte)))
                for byte in self._vocabulary.by_first_byte
            ]
            self._banned[state] = np.sort(np.concatenate(groups)) if groups else _NONE
        return self._banned[state]

    def after(self, state: int, token: int) -> int:
        for character in self._pieces[token]:
            state = self._automaton.next(state, character)
        return state

    def _group(self, first: str, state: int) -> Ids:
        """The tokens that begin with a byte and complete a word, by the state behind the byte."""
        if (first, state) not in self._groups:
            tokens = self._vocabulary.by_first_byte[ord(first)]
            wrong = [token for token in tokens.tolist() if self._completes(token, state)]
            self._groups[first, state] = np.array(wrong, np.int64)
        return self._groups[first, state]

    def _completes(self, token: int, state: int) -> bool:
        lengths = self._automaton.stop_length
        if lengths[state]:
            return True
        for character in self._pieces[token][1:]:
            state = self._automaton.next(state, character)
            if lengths[state]:
                return True
        return False


class AllowedWords(Guard):
    """``allowed_words``: the text is made of them, one after the other, in any order.

    It may end behind each; where ``max_tokens`` ends it, it may end within one.
    """

    def __init__(self, words: tuple[str, ...], vocabulary: Vocabulary) -> None:
        key = ("allowed", words)
        self._table = _shared(vocabulary, key, lambda: _AllowedTable(words, vocabulary))
        self._state = frozenset({0})

    def banned(self) -> Ids:
        """The tokens that begin or continue no word."""
        return self._table.banned(self._state)

    def push(self, token: int) -> None:
        """Follow the token's bytes."""
        self._state = self._table.after(self._state, token)


class _AllowedTable:
    """A trie of the words.

    A state is the set of nodes where the text may stand; 0 is between two words.
    """

    def __init__(self, words: tuple[str, ...], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._edges: list[dict[int, int]] = [{}]
        self._complete = [False]
        for word in words:
            self._add(word.encode())
        self._banned: dict[frozenset[int], Ids] = {}

    def _add(self, word: bytes) -> None:
        node = 0
        for byte in word:
            if byte not in self._edges[node]:
                self._edges[node][byte] = len(self._edges)
                self._edges.append({})
                self._complete.append(False)
            node = self._edges[node][byte]
        self._complete[node] = True

    def banned(self, state: frozenset[int]) -> Ids:
        if state not in self._banned:
            _make_room(self._banned, self._vocabulary)
            allowed = np.zeros(len(self._vocabulary), np.bool_)
            allowed[self._fitting(state)] = True
            self._banned[state] = np.flatnonzero(~allowed)
        return self._banned[state]

    def _fitting(self, state: frozenset[int]) -> list[int]:
        """The tokens that may come in a state."""
        pieces = self._vocabulary.pieces
        found = [self._vocabulary.end] if 0 in state else []
        for byte, tokens in self._vocabulary.by_first_byte.items():
            if self._step(state, byte):
                found += [each for each in tokens.tolist() if self._walk(state, pieces[each])]
        return found

    def after(self, state: frozenset[int], token: int) -> frozenset[int]:
        return self._walk(state, self._vocabulary.pieces[token])

    def _walk(self, state: frozenset[int], piece: bytes) -> frozenset[int]:
        for byte in piece:
            state = self._step(state, byte)
        return state

    def _step(self, state: frozenset[int], byte: int) -> frozenset[int]:
        reached = {self._edges[node][byte] for node in state if byte in self._edges[node]}
        if any(self._complete[node] for node in reached):
            reached.add(0)
        return frozenset(reached)


def _make_room(table: dict[State, Ids], vocabulary: Vocabulary) -> None:
    """Keep a table of what is wrong in each state from growing without end."""
    if len(table) * len(vocabulary) >= _REMEMBERED:
        table.clear()


def _bytes_as_text(piece: bytes) -> str:
    return piece.decode("latin-1")


def _shared(vocabulary: Vocabulary, key: Hashable, make: Callable[[], Table]) -> Table:
    """The table of some words, made once for the texts that share them."""
    found: Table = vocabulary.shared(key, make)
    return found
