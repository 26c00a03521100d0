"""Words that a text must not contain, or must be made of, whatever tokens it is written with.

Both follow the bytes of the text through an automaton of the words. Which tokens are wrong in a
state is worked out once for each state that comes up, and shared by all texts with these words.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

import numpy as np

from textgen.engine.guard import Guard
from textgen.engine.stopping import StopAutomaton
from textgen.engine.vocabulary import Ids, Vocabulary

Table = TypeVar("Table")
State = TypeVar("State")
_REMEMBERED = 1 << 22  # tokens at most, over all states of one set of words


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
        self._words = [word.encode() for word in words]
        # One character for each byte, so that a token may end within a character of a word.
        self._automaton = StopAutomaton([each.decode("latin-1") for each in self._words])
        self._vocabulary = vocabulary
        self._whole: Ids | None = None  # the tokens that have a word in them
        self._banned: dict[int, Ids] = {}

    def banned(self, state: int) -> Ids:
        if self._whole is None:
            tree = self._vocabulary.tree
            self._whole = np.concatenate([tree.containing(word) for word in self._words])
        if state not in self._banned:
            _make_room(self._banned, self._vocabulary)
            self._banned[state] = np.unique(np.concatenate([self._whole, *self._ending(state)]))
        return self._banned[state]

    def after(self, state: int, token: int) -> int:
        for byte in self._vocabulary.pieces[token]:
            state = self._automaton.next(state, chr(byte))
        return state

    def _ending(self, state: int) -> Iterator[Ids]:
        """The tokens that end a word which has begun before them."""
        tree, automaton = self._vocabulary.tree, self._automaton
        waiting = [(tree.root, state)]
        while waiting:
            node, state = waiting.pop()
            for byte, child in tree.children(node):
                reached = automaton.next(state, chr(byte))
                if automaton.stop_length[reached]:
                    yield tree.within(child)
                elif automaton.depth[reached] > child.depth:  # else nothing is left of before
                    waiting.append((child, reached))


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

    def _fitting(self, state: frozenset[int]) -> Ids:
        """The tokens that may come in a state."""
        tree = self._vocabulary.tree
        found = [np.array([self._vocabulary.end] if 0 in state else [], np.int64)]
        waiting = [(tree.root, state)]
        while waiting:
            node, state = waiting.pop()
            for byte, child in tree.children(node):
                if reached := self._step(state, byte):
                    found.append(tree.ending(child))
                    waiting.append((child, reached))
        return np.concatenate(found)

    def after(self, state: frozenset[int], token: int) -> frozenset[int]:
        for byte in self._vocabulary.pieces[token]:
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


def _shared(vocabulary: Vocabulary, key: Hashable, make: Callable[[], Table]) -> Table:
    """The table of some words, made once for the texts that share them."""
    found: Table = vocabulary.shared(key, make)
    return found
