"""What a text says more than once, for a look at it beforehand."""

from __future__ import annotations

from textgen.corpus.duplicates import Duplicates
from textgen.corpus.encoding import BLOCK
from textgen.corpus.passages import REPEAT_WINDOW, Sample, Windows, repeated

COMPARED = 10_000_000  # characters of documents that are compared with each other


class Copies:
    """Near copies among documents, or passages of one text that came before."""

    def __init__(self, *, documents: bool) -> None:
        self._duplicates = Duplicates(near=True) if documents else None
        self._windows = Windows(REPEAT_WINDOW, documents=False)
        self._passages = Sample()
        self._waiting = list[str]()
        self._length = 0
        self._compared = 0

    def line(self, text: str) -> None:
        """Take one document, or a line of a text."""
        self._waiting.append(text)
        self._length += len(text)
        if self._length > BLOCK:
            self._flush()

    @property
    def near(self) -> int | None:
        """Documents that are nearly like one before."""
        self._flush()
        return None if self._duplicates is None else self._duplicates.near

    @property
    def repeated(self) -> float | None:
        """The share of the text in passages that came before."""
        self._flush()
        return None if self._duplicates is not None else repeated(self._passages)

    def _flush(self) -> None:
        texts, self._waiting, self._length = self._waiting, [], 0
        if self._duplicates is None:
            self._passages.add(self._windows.add(texts))
        elif self._compared < COMPARED:
            self._compared += sum(map(len, texts))
            self._duplicates.find(texts)
