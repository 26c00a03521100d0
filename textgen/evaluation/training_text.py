"""The files that a model learnt from, split as its training split them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from textgen.bundles.header import BundleHeader
from textgen.corpus.documents import Document, document_hash
from textgen.corpus.sources import Source
from textgen.corpus.splits import DocumentSplitter, SplitName, Splitter, TextSplitter
from textgen.errors import InvalidCorpus
from textgen.evaluation.text import read_as_taught


class TrainingText:
    """Files of training text; what was held out of them follows from the sizes of the parts.

    A bundle says how many characters and documents each part had. One text was cut by position,
    and documents were dealt out by the order of their hashes, so that the sizes tell which is
    which, where the files of one text come in the order that they had. Files of other sizes are
    another text, or parts of it were in files of their own.
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

    def learnt(self) -> Iterator[Document]:
        """What the model learnt from, or all of the files where that cannot be told."""
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
        return (each for part, each in self._splitter.deal(documents) if part == wanted)

    def _read(self) -> Iterator[Document]:
        return read_as_taught(self.sources, self._header, self._on_document)

    def _size(self, part: SplitName) -> tuple[int, int]:
        """Characters and documents of a part of the corpus, as the bundle has them."""
        sizes = self._header.corpus.get("splits", {}).get(part, {})
        return sizes.get("characters", 0), sizes.get("documents", 0)

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
        ordered = np.sort(np.frombuffer(hashes, np.uint64)).tolist()
        (_, train), (_, valid), _ = sizes
        ends = [*ordered, 2**64]
        return DocumentSplitter(ends[valid] if valid else 0, ends[valid + train])
