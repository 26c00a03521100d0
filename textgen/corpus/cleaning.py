"""What is done to a text before anything is learnt from it: form, personal data, copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from textgen.corpus.documents import Dialogue, Document, Labelled, text_of
from textgen.corpus.duplicates import Deduplicator
from textgen.corpus.personal_data import Masker
from textgen.options import Normalization
from textgen.tokenizers.normalized import normalized, normalized_pieces


class Cleaning:
    """Brings texts into a normal form.

    Where there is a masker personal data is masked; where there is a deduplicator documents that
    are then copies are left out.
    """

    def __init__(
        self,
        form: Normalization,
        masker: Masker | None = None,
        deduplicator: Deduplicator | None = None,
    ) -> None:
        self._form = form
        self._masker = masker
        self._deduplicator = deduplicator

    def documents(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Documents that stand for themselves."""
        if self._form != "none" or self._masker is not None:
            documents = map(self._document, documents)
        return iter(documents) if self._deduplicator is None else self._deduplicator.kept(documents)

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
