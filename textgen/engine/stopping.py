"""Stop strings in a text that comes in pieces.

Aho and Corasick, "Efficient string matching" (1975): one pass however many strings there are and
however they overlap. The text ends before the stop string that is complete first; of two that
end at the same character, before the longer one. How the text is cut into pieces changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache


class StopAutomaton:
    """The states of a set of stop strings; immutable, shared by all texts that look for them."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.edges: list[dict[str, int]] = [{}]  # from a state by the next character
        self.depth = [0]  # how many characters a state has matched
        self.stop_length = [0]  # of the longest stop that ends in a state, else 0
        self.fallback = [0]  # the state of the longest proper suffix
        for stop in stops:
            self._add(stop)
        self._link()

    def _add(self, stop: str) -> None:
        state = 0
        for character in stop:
            if character not in self.edges[state]:
                self.edges[state][character] = len(self.edges)
                self.edges.append({})
                self.depth.append(self.depth[state] + 1)
                self.stop_length.append(0)
                self.fallback.append(0)
            state = self.edges[state][character]
        self.stop_length[state] = len(stop)

    def _link(self) -> None:
        """Breadth first, so that every fallback is known before it is needed."""
        waiting = deque(self.edges[0].values())
        while waiting:
            state = waiting.popleft()
            # A state's own stop is longer than any that its suffixes end.
            if self.stop_length[state] == 0:
                self.stop_length[state] = self.stop_length[self.fallback[state]]
            for character, target in self.edges[state].items():
                self.fallback[target] = self.next(self.fallback[state], character)
                waiting.append(target)

    def next(self, state: int, character: str) -> int:
        """The state after one more character."""
        while state and character not in self.edges[state]:
            state = self.fallback[state]
        return self.edges[state].get(character, 0)


@lru_cache(maxsize=16)
def stop_automaton(stops: tuple[str, ...]) -> StopAutomaton:
    """The automaton of ``stops``, made once for the many requests that share them."""
    return StopAutomaton(stops)


class StopMatcher:
    """Lets a text through up to its first stop string.

    What may yet turn out to be the beginning of one is held back until that is known.
    """

    def __init__(self, stops: tuple[str, ...], *, shown: bool = False) -> None:
        """``shown``: whether the stop string is let through too."""
        self._shown = shown
        self._automaton = stop_automaton(stops)
        self._state = 0
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Take more text; the part that can be shown. Nothing after ``stopped``."""
        if self.stopped:
            return ""
        automaton, state = self._automaton, self._state
        text = self._held + text
        for index in range(len(self._held), len(text)):
            state = automaton.next(state, text[index])
            if automaton.stop_length[state]:
                self.stopped = True
                self._held = ""
                return text[: index + 1 - (0 if self._shown else automaton.stop_length[state])]
        self._state = state
        shown = len(text) - automaton.depth[state]
        self._held = text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held
