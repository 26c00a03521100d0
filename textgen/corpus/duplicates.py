"""Documents that stand in a corpus before: exact copies, and near ones by MinHash.

Near means that about four fifths of the different five-character pieces of either are in both:
the Jaccard similarity, estimated by MinHash (Broder 1997) and found by locality-sensitive hashing
in bands. Memory is bounded: a document is compared with the latest half million that were kept.
All arithmetic is on whole numbers, so every machine leaves out the same documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from textgen.corpus.documents import Document, document_hash, text_of
from textgen.corpus.encoding import BLOCK
from textgen.options import Deduplication

Signatures = npt.NDArray[np.uint8]
SIMILAR = 0.8
_SHINGLE = 5  # characters
_BANDS, _ROWS = 16, 8  # a pair of similarity 0.8 meets in a band with 95 %, of 0.9 with 99.99 %
_HASHES = _BANDS * _ROWS
_REMEMBERED = 1 << 19  # documents, in 128 MB with their bands
_EXACT_SLOTS = 1 << 22  # hashes, in 32 MB
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_BASE = np.uint64(0x100000001B3)


class Duplicates:
    """Tells of each document whether it stood there before; ``copies`` and ``near`` count."""

    def __init__(self, *, near: bool) -> None:
        self.copies = self.near = self.seen = 0
        self._exact: npt.NDArray[np.uint64] = np.zeros(_EXACT_SLOTS, np.uint64)
        self._similar = SimilarDocuments() if near else None

    def find(self, documents: Sequence[Document]) -> list[bool]:
        """For each of the next documents whether it is a copy, exact or near, of one before."""
        found = [self._is_copy(document) for document in documents]
        self.seen += len(found)
        self.copies += sum(found)
        if self._similar is not None:
            new = [index for index, copy in enumerate(found) if not copy]
            similar = self._similar.find([text_of(documents[index]) for index in new])
            for index, near in zip(new, similar, strict=True):
                found[index] = near
            self.near += sum(similar)
        return found

    def _is_copy(self, document: Document) -> bool:
        """A slot keeps the latest hash, so far copies among very many documents are not seen."""
        value = np.uint64(document_hash(document) | 1)  # 0 is an empty slot
        slot = int(value >> np.uint64(40)) % _EXACT_SLOTS
        if self._exact[slot] == value:
            return True
        self._exact[slot] = value
        return False


class SimilarDocuments:
    """MinHash signatures of the documents that were kept, to be found by any equal band."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._signatures: Signatures = np.zeros((remembered, _HASHES), np.uint8)
        # Per band, where the hash of its rows leads: 1 + the place of the latest such signature
        self._places: npt.NDArray[np.int32] = np.zeros((_BANDS, 2 * remembered), np.int32)
        self._next = 0

    def find(self, texts: Sequence[str]) -> list[bool]:
        """For each text whether it is similar to one before that was not."""
        if not texts:
            return []
        minima = minhashes(texts)  # (texts, hashes) uint32
        slots = _band_hashes(minima) % np.uint64(self._places.shape[1])
        short = minima.astype(np.uint8)
        return [
            self._seen(mine, row) for mine, row in zip(short, slots.astype(np.int64), strict=True)
        ]

    def _seen(self, signature: Signatures, slots: npt.NDArray[np.int64]) -> bool:
        bands = np.arange(_BANDS)
        places = self._places[bands, slots]
        if candidates := set(places.tolist()) - {0}:
            others = self._signatures[np.array(sorted(candidates)) - 1]
            if (others == signature).mean(1).max() >= SIMILAR:
                return True
        self._signatures[self._next] = signature
        self._places[bands, slots] = self._next + 1
        self._next = (self._next + 1) % len(self._signatures)
        return False


def minhashes(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """(texts, hashes): under each hash the least of a text's shingles."""
    shingles, starts = _shingles(texts)
    minima = np.empty((len(texts), _HASHES), np.uint32)
    for number in range(_HASHES):
        mixed = shingles * np.uint64(2 * number + 0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= _MIX
        minima[:, number] = np.minimum.reduceat((mixed >> np.uint64(32)).astype(np.uint32), starts)
    return minima


def _shingles(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """A hash of each five characters of all texts, and where each text's begin.

    A text is padded to five characters; none of its shingles goes into the next text.
    """
    padded = [text.ljust(_SHINGLE, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), "<u4").astype(np.uint64)
    lengths = np.array([len(text) for text in padded])
    hashes = np.zeros(points.size - _SHINGLE + 1, np.uint64)
    for offset in range(_SHINGLE):
        hashes = hashes * _BASE + points[offset : offset + hashes.size]
    hashes ^= hashes >> np.uint64(31)
    hashes *= _MIX
    ends = np.cumsum(lengths)
    inside = np.ones(points.size, bool)
    for back in range(1, _SHINGLE):  # the last four characters of a text begin no shingle
        inside[ends - back] = False
    counts = lengths - _SHINGLE + 1
    return hashes[inside[: hashes.size]], np.cumsum(counts) - counts


def _band_hashes(minima: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """(texts, bands): one hash for the rows of each band."""
    rows = minima.reshape(len(minima), _BANDS, _ROWS).astype(np.uint64)
    hashes = np.zeros(rows.shape[:2], np.uint64)
    for row in range(_ROWS):
        hashes = (hashes ^ rows[:, :, row]) * _BASE
        hashes ^= hashes >> np.uint64(32)
    return hashes * _MIX >> np.uint64(20)


class Deduplicator:
    """Leaves out what stood there before; the first whole reading decides for those after it."""

    def __init__(self, how: Deduplication) -> None:
        self.how = how
        self.found = Duplicates(near=how == "near")
        self._left_out = bytearray()  # one byte a document
        self._decided = False

    def kept(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents but for copies."""
        if self._decided:
            yield from (
                document
                for document, copy in zip(documents, self._left_out, strict=True)
                if not copy
            )
            return
        for some in _in_blocks(documents):
            copies = self.found.find(some)
            self._left_out += bytes(copies)
            yield from (each for each, copy in zip(some, copies, strict=True) if not copy)
        self._decided = True


def _in_blocks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    some, length = list[Document](), 0
    for document in documents:
        some.append(document)
        length += len(document) + 1
        if length > BLOCK:
            yield some
            some, length = [], 0
    if some:
        yield some
