"""What is done to a text before anything is learnt from it: its Unicode form, personal data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from textgen.corpus.documents import Dialogue, Document, Labelled, text_of
from textgen.corpus.personal_data import Masker
from textgen.options import Normalization
from textgen.tokenizers.normalized import normalized, normalized_pieces


class Cleaning:
    """Brings texts into a normal form and, where there is a masker, masks personal data."""

    def __init__(self, form: Normalization, masker: Masker | None = None) -> None:
        self._form = form
        self._masker = masker

    def documents(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Each document by itself."""
        if self._form == "none" and self._masker is None:
            yield from documents
            return
        for document in documents:
            yield self._document(document)

    def pieces(self, pieces: Iterable[Document]) -> Iterator[Document]:
        """One text in pieces that may be cut between any two characters."""
        texts = normalized_pieces(map(text_of, pieces), self._form)
        yield from texts if self._masker is None else self._masker.mask_pieces(texts)

    def _document(self, document: Document) -> Document:
        if isinstance(document, str):
            return self._text(document)
        if isinstance(document, Labelled):
            return replace(document, text=self._text(document.text))
        turns = tuple(replace(turn, text=self._text(turn.text)) for turn in document.turns)
        return Dialogue(turns)

    def _text(self, text: str) -> str:
        text = normalized(text, self._form)
        return text if self._masker is None else self._masker.mask(text)
