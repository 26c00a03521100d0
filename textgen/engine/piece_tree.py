"""A vocabulary's tokens by what they begin with, so that only those that matter are looked at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class Node(NamedTuple):
    """The pieces at places ``first`` to ``last`` - 1 of the tree, whose first bytes are the same.

    ``depth`` is how many of them.
    """

    first: int
    last: int
    depth: int


class PieceTree:
    """A tree of the bytes of tokens: in their order, those that begin alike lie side by side.

    Tokens without bytes are not in it.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        tokens = sorted(
            (each for each, piece in enumerate(pieces) if piece), key=pieces.__getitem__
        )
        self.tokens: Ids = np.array(tokens, np.int64)  # by place
        self._pieces = [pieces[each] for each in tokens]
        self._ends = np.cumsum([len(each) for each in self._pieces])  # of each in the next
        self._joined = b"".join(self._pieces)

    @property
    def root(self) -> Node:
        """All of them."""
        return Node(0, len(self._pieces), 0)

    def children(self, node: Node) -> Iterator[tuple[int, Node]]:
        """The next bytes, and what begins with each."""
        pieces, place, depth = self._pieces, self._longer(node), node.depth
        while place < node.last:
            byte, same = pieces[place][depth], pieces[place][:depth]
            last = node.last
            if byte < 255:
                last = bisect_left(pieces, same + bytes([byte + 1]), place, last)
            yield byte, Node(place, last, depth + 1)
            place = last

    def within(self, node: Node) -> Ids:
        """The tokens that begin so."""
        return self.tokens[node.first : node.last]

    def ending(self, node: Node) -> Ids:
        """The tokens that are so, and no longer."""
        return self.tokens[node.first : self._longer(node)]

    def containing(self, text: bytes) -> Ids:
        """The tokens in which ``text`` stands, anywhere."""
        found, ends, place = [], self._ends, 0
        at = self._joined.find(text)
        while at >= 0:
            place = int(np.searchsorted(ends, at, side="right"))
            if at + len(text) <= ends[place]:
                found.append(place)
                at = int(ends[place])  # this token is known
            else:
                at += 1  # it runs over the token's end
            at = self._joined.find(text, at)
        return self.tokens[found]

    def _longer(self, node: Node) -> int:
        """Where the pieces begin that are longer than the node is deep."""
        place = node.first
        while place < node.last and len(self._pieces[place]) == node.depth:
            place += 1
        return place
