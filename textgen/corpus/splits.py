"""Which part of a corpus is learnt from, which is held out to measure, and which to test.

One text is cut in three by position, its tail held out: what comes later is what is predicted.
Documents are dealt out by the hash of their text, so that a document goes to the same part
whatever its neighbours, and two equal ones never to different parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from textgen.corpus.documents import Document, document_hash, text_of

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
_HASHES = 2**64


class Splitter(Protocol):
    """Deals a corpus out."""

    def deal(self, documents: Iterable[Document]) -> Iterator[tuple[SplitName, Document]]:
        """Each document, or piece of one text, with the part it belongs to."""


@dataclass(frozen=True, slots=True)
class TextSplitter:
    """One text: characters up to ``train_end``, then up to ``valid_end``, then the rest."""

    train_end: int
    valid_end: int

    @classmethod
    def by_fraction(cls, characters: int, valid: float, test: float) -> TextSplitter:
        """``train`` gets floor(characters · (1 - valid - test)), computed without rounding."""
        held, tail = Decimal(str(valid)), Decimal(str(test))
        return cls(int(characters * (1 - held - tail)), int(characters * (1 - tail)))

    def deal(self, documents: Iterable[Document]) -> Iterator[tuple[SplitName, Document]]:
        """The pieces, cut where a part ends."""
        ends: tuple[tuple[SplitName, float], ...] = (
            ("train", self.train_end),
            ("valid", self.valid_end),
            ("test", float("inf")),
        )
        start = 0
        for piece in map(text_of, documents):
            stop = start + len(piece)
            at = start
            for name, end in ends:
                if at < end and at < stop:
                    until = int(min(end, stop))
                    yield name, piece[at - start : until - start]
                    at = until
            start = stop


@dataclass(frozen=True, slots=True)
class DocumentSplitter:
    """Documents whose hash is below ``valid_below`` are held out, from ``test_from`` on tested."""

    valid_below: int
    test_from: int

    @classmethod
    def by_fraction(cls, extremes: HashExtremes, valid: float, test: float) -> DocumentSplitter:
        """Fractions of the hashes; a part that was asked for gets at least one document."""
        below, start = int(valid * _HASHES), int((1 - test) * _HASHES)
        if valid > 0:
            below = max(below, extremes.least + 1)
        if test > 0:
            start = min(start, extremes.greatest)
        return cls(below, start)

    def deal(self, documents: Iterable[Document]) -> Iterator[tuple[SplitName, Document]]:
        """The documents, each whole."""
        if self.valid_below == 0 and self.test_from == _HASHES:
            yield from (("train", document) for document in documents)
            return
        for document in documents:
            yield self._part(document_hash(document)), document

    def _part(self, value: int) -> SplitName:
        if value < self.valid_below:
            return "valid"
        return "test" if value >= self.test_from else "train"


class HashExtremes:
    """The least and the greatest hash of the documents seen."""

    def __init__(self) -> None:
        self.least = _HASHES
        self.greatest = -1

    def add(self, document: Document) -> None:
        """Take one document in."""
        value = document_hash(document)
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)
