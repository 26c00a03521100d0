"""The text that a model is measured on, in ids, up to a limit of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
    said: tuple[str, ...]  # (D,) what counts in each, as far as the ids go; of one text the pieces
    left_out: int  # characters that were read but are not here

    @cached_property
    def text(self) -> str:
        """What counts, joined."""
        return "".join(self.said)

    @property
    def bytes(self) -> int:
        """Of what counts, in UTF-8."""
        return len(self.text.encode())

    def tokens(self) -> int:
        """How many are predicted and count."""
        return int(np.count_nonzero(self.counted[1:]))

    def first_documents(self, characters: int) -> tuple[list[str], int]:
        """What counts in the first documents, up to so many characters, and where they stop."""
        sizes = np.cumsum([len(text) for text in self.said])
        count = int(np.searchsorted(sizes, characters, "right"))
        stop = self.ids.size if count == len(self.said) else int(self.starts[count])
        return list(self.said[:count]), stop


def read_as_taught(
    sources: Sequence[Source], header: BundleHeader, on_document: Callable[[], None] = lambda: None
) -> Iterator[Document]:
    """The documents, or pieces of one text, of files, read in the way the model was taught.

    For one that learnt from documents a text is a document a line; for one that did not,
    documents are lines of one text. One that learnt labels may be given texts without.
    ``on_document`` is called before each. InvalidCorpus for rows of another kind than it learnt
    from.
    """
    for source in sources:
        wanted = replace(source, labels=header.rows == "labels")
        if header.documents and not source.has_documents:
            wanted = replace(wanted, format="lines")
        for document in read_documents(wanted):
            on_document()
            kind = kind_of(document)
            if kind != header.rows and (kind, header.rows) != ("text", "labels"):
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
        self._said: list[str] = []
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
        self._said.append("".join([self._add_part(*part) for part in parts]))

    def _add_part(self, ids: Ids, text: str, counts: bool) -> str:
        """As far as there is room for it; what counts of the text."""
        kept = ids[: self._limit - self._size]
        shown = text if len(kept) == len(ids) else text[: len(self._tokenizer.decode(kept))]
        self._left_out += len(text) - len(shown)
        self._ids.append(kept)
        self._counted.append(np.full(len(kept), counts, np.uint8))
        self._size += len(kept)
        return shown if counts else ""

    def finish(self) -> MeasuredText:
        return MeasuredText(
            ids=np.concatenate(self._ids),
            counted=np.concatenate(self._counted),
            starts=np.array(self._starts, np.int64),
            documents=tuple(self._documents),
            said=tuple(self._said),
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
