"""The text that a model is measured on, in ids, up to a limit of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from textgen.bundles.header import BundleHeader
from textgen.corpus.documents import Document, kind_of, text_of
from textgen.corpus.encoding import BLOCK
from textgen.corpus.id_writer import encode_parts
from textgen.corpus.sources import Source, read_documents
from textgen.errors import InvalidCorpus
from textgen.tokenizers import Ids, Tokenizer

Flags = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MeasuredText:
    """``ids`` as in a corpus: of documents end, document, end, …; of one text nothing between."""

    ids: Ids  # (N,)
    counted: Flags  # (N,) whether predicting it counts; the first of all is never predicted
    starts: Places  # (D,) where each document begins; empty for one text
    documents: tuple[Document, ...]  # (D,) whole, though ids may stop within the last one
    text: str  # what counts, joined
    left_out: int  # characters that were read but are not here

    @property
    def bytes(self) -> int:
        """Of what counts, in UTF-8."""
        return len(self.text.encode())

    def tokens(self) -> int:
        """How many are predicted and count."""
        return int(np.count_nonzero(self.counted[1:]))


def read_as_taught(sources: Sequence[Source], header: BundleHeader) -> Iterator[Document]:
    """The documents, or pieces of one text, of files, read in the way the model was taught.

    For one that learnt from documents a text is a document a line; for one that did not,
    documents are lines of one text. InvalidCorpus for rows of another kind than it learnt from.
    """
    for source in sources:
        wanted = replace(source, labels=header.rows == "labels")
        if header.documents and not source.has_documents:
            wanted = replace(wanted, format="lines")
        for document in read_documents(wanted):
            kind = kind_of(document)
            if kind != header.rows:
                raise InvalidCorpus(
                    f"{source.shown} has rows of {kind}, and the model learnt from rows of "
                    f"{header.rows}; give it a file of those.",
                    code="mixed_formats",
                    param="sources",
                )
            if source.has_documents and not header.documents:
                yield f"{text_of(document)}\n"
            else:
                yield document


def encode_text(
    documents: Iterable[Document], tokenizer: Tokenizer, *, separate: bool, limit: int
) -> MeasuredText:
    """The ids of ``documents``, which are pieces of one text unless ``separate``.

    The text is cut where it has more than ``limit`` tokens. InvalidCorpus where nothing is left
    to predict.
    """
    found = _Encoder(tokenizer, limit, separate)
    for each in documents if separate else _blocks(documents):
        found.add(each)
    text = found.finish()
    if text.tokens() < 1:
        raise InvalidCorpus(
            f"A text of {text.ids.size} tokens cannot be evaluated; at least 2 are needed, and one "
            "that counts after the first. Give more text.",
            code="corpus_too_small",
            param="sources",
        )
    return text


class _Encoder:
    def __init__(self, tokenizer: Tokenizer, limit: int, separate: bool) -> None:
        first = [tokenizer.end_id] if separate else []  # also the first document follows an end
        self._tokenizer = tokenizer
        self._limit = limit
        self._separate = separate
        self._ids: list[Ids] = [np.array(first, tokenizer.dtype)]
        self._counted: list[Flags] = [np.zeros(len(first), np.uint8)]
        self._size = len(first)
        self._starts: list[int] = []
        self._documents: list[Document] = []
        self._texts: list[str] = []
        self._left_out = 0

    def add(self, document: Document) -> None:
        if self._size >= self._limit:
            self._left_out += len(document)
            return
        if self._separate:
            self._starts.append(self._size)
            self._documents.append(document)
            parts = encode_parts(document, self._tokenizer)
        else:
            parts = [(self._tokenizer.encode(text_of(document)), text_of(document), True)]
        for ids, text, counts in parts:
            self._add_part(ids, text, counts)

    def _add_part(self, ids: Ids, text: str, counts: bool) -> None:
        kept = ids[: self._limit - self._size]
        shown = text if len(kept) == len(ids) else text[: len(self._tokenizer.decode(kept))]
        self._left_out += len(text) - len(shown)
        self._ids.append(kept)
        self._counted.append(np.full(len(kept), counts, np.uint8))
        self._size += len(kept)
        if counts:
            self._texts.append(shown)

    def finish(self) -> MeasuredText:
        return MeasuredText(
            ids=np.concatenate(self._ids),
            counted=np.concatenate(self._counted),
            starts=np.array(self._starts, np.int64),
            documents=tuple(self._documents),
            text="".join(self._texts),
            left_out=self._left_out,
        )


def _blocks(pieces: Iterable[Document]) -> Iterator[str]:
    """One text in pieces of about a block, as a corpus is encoded."""
    gathered, length = list[str](), 0
    for piece in map(text_of, pieces):
        gathered.append(piece)
        length += len(piece) + 1
        if length >= BLOCK:
            yield "".join(gathered)
            gathered, length = [], 0
    if gathered:
        yield "".join(gathered)
