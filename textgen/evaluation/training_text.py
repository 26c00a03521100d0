"""The files that a model learnt from, split as its training split them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from textgen.bundles.header import BundleHeader
from textgen.corpus.cleaning import Cleaning
from textgen.corpus.documents import Document, document_hash
from textgen.corpus.duplicates import Deduplicator
from textgen.corpus.personal_data import Masker
from textgen.corpus.shuffling import in_order
from textgen.corpus.sources import Source
from textgen.corpus.splits import DocumentSplitter, SplitName, Splitter, TextSplitter
from textgen.errors import InvalidCorpus
from textgen.evaluation.text import read_as_taught


class TrainingText:
    """Files of training text; what was held out of them follows from the sizes of the parts.

    A bundle says what was done to the text, and how many characters and documents each part then
    had. One text was cut by position, and documents were dealt out by the order of their hashes, so
    that the sizes tell which is which, where the files come in the order that they had. Files of
    other sizes are another text. A part that had files of its own is not in these.
    ``on_document`` is called before each that is read.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        header: BundleHeader,
        on_document: Callable[[], None] = lambda: None,
    ) -> None:
        self.sources = tuple(sources)
        self._header = header
        self._on_document = on_document
        self._cleaning = _cleaning(header.corpus)

    def learnt(self) -> Iterator[Document]:
        """What the model learnt from, in its order, or all of the files where they do not tell."""
        return self._part("train")

    def held_out(self) -> Iterator[Document]:
        """What the training measured on. InvalidCorpus where the files do not tell it."""
        if not self.sources:
            raise InvalidCorpus(
                "'sources' is empty; give a text to measure on, or in 'training_sources' the "
                "files that the model learnt from, for the part that was held out.",
                code="empty_file",
                param="sources",
            )
        if "valid" in self._own_files:
            raise InvalidCorpus(
                "'sources' is empty, and what the training measured on was in a file of its own. "
                "Give that file, or another text to measure on.",
                code="nothing_held_out",
                param="sources",
            )
        if self._splitter is None or self._size("valid") == (0, 0):
            raise InvalidCorpus(
                "'sources' is empty, and of the training files no part is known that the model "
                "did not learn from: they are not quite those of the training, or nothing was "
                "held out of them. Give a text to measure on.",
                code="nothing_held_out",
                param="sources",
            )
        return self._part("valid")

    def _part(self, wanted: SplitName) -> Iterator[Document]:
        documents = self._read()
        if self._splitter is None:
            return documents
        dealt = (each for part, each in self._splitter.deal(documents) if part == wanted)
        seed = self._header.corpus.get("order_seed")
        return dealt if seed is None else in_order(dealt, seed)

    def _read(self) -> Iterator[Document]:
        """What is in the files, as the training cleaned it."""
        written = read_as_taught(self.sources, self._header, self._on_document)
        if self._header.documents:
            return self._cleaning.documents(written)
        return self._cleaning.pieces(written)

    def _size(self, part: SplitName) -> tuple[int, int]:
        """Characters and documents of a part of the training files, as the bundle has them."""
        if part in self._own_files:
            return 0, 0
        sizes = self._header.corpus.get("splits", {}).get(part, {})
        return sizes.get("characters", 0), sizes.get("documents", 0)

    @property
    def _own_files(self) -> Sequence[str]:
        return self._header.corpus.get("own_files", ())  # type: ignore[no-any-return]

    @cached_property
    def _splitter(self) -> Splitter | None:
        """None where the files have not the size of a corpus that the bundle tells of."""
        characters, hashes = 0, array("Q")
        for document in self._read():
            characters += len(document)
            if self._header.documents:
                hashes.append(document_hash(document))
        sizes = [self._size(part) for part in ("train", "valid", "test")]
        if (characters, len(hashes)) != tuple(map(sum, zip(*sizes, strict=True))):
            return None
        if not self._header.documents:
            return TextSplitter(sizes[0][0], sizes[0][0] + sizes[1][0])
        ordered = np.sort(np.frombuffer(hashes, np.uint64))
        (_, train), (_, valid), _ = sizes

        def end(count: int) -> int:
            return int(ordered[count]) if count < ordered.size else 2**64

        return DocumentSplitter(end(valid) if valid else 0, end(valid + train))


def _cleaning(corpus: Mapping[str, Any]) -> Cleaning:
    """What a training did, by what its bundle tells of the corpus.

    Where nothing was masked, or nothing was a copy, it is the same not to look for any.
    """
    left_out = corpus.get("left_out")
    return Cleaning(
        corpus.get("normalization", "none"),
        Masker() if corpus.get("masked") else None,
        Deduplicator("near" if left_out["near"] else "exact") if left_out else None,
    )
