"""Stop strings in a text that comes in pieces.

Aho and Corasick, "Efficient string matching" (1975): one pass however many strings there are and
however they overlap. The text ends before the stop string that is complete first; of two that
end at the same character, before the longer one. How the text is cut into pieces changes nothing.
Words that are blocked are found in the same way, by an automaton of their own.
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
    """Lets a text through up to its first stop string, or word that is blocked.

    What may yet turn out to be the beginning of one is held back until that is known. Blocked
    words are never let through; stop strings may be, and need not be looked for in all of a text.
    """

    def __init__(
        self, stops: tuple[str, ...], blocked: tuple[str, ...] = (), *, shown: bool = False
    ) -> None:
        """``shown``: whether the stop string is let through too."""
        self._shown = shown
        self._stops, self._blocked = stop_automaton(stops), stop_automaton(blocked)
        self._stop_state = self._blocked_state = 0
        self._held = ""
        self.stopped = False
        self.met_blocked = False  # whether it was by a blocked word

    def push(self, text: str, *, stops: bool = True) -> str:
        """Take more text; the part that can be shown. Nothing after ``stopped``.

        Without ``stops`` this text is no part of a stop string.
        """
        if self.stopped:
            return ""
        blocked, state = self._blocked, self._blocked_state
        stop, stop_state = self._stops, self._stop_state if stops else 0
        text = self._held + text
        for index in range(len(self._held), len(text)):
            state = blocked.next(state, text[index])
            stop_state = stop.next(stop_state, text[index]) if stops else 0
            if blocked.stop_length[state] or stop.stop_length[stop_state]:
                self.stopped, self._held = True, ""
                self.met_blocked = blocked.stop_length[state] > 0
                hidden = 0 if self._shown else stop.stop_length[stop_state]
                return text[: index + 1 - max(blocked.stop_length[state], hidden)]
        self._blocked_state, self._stop_state = state, stop_state
        shown = len(text) - max(blocked.depth[state], stop.depth[stop_state])
        self._held = text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held
