"""Writing one part of a corpus as ids, and counting what goes by."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from textgen.corpus.dataset import MASKED, SplitSizes, counted_path, labels_path, split_path
from textgen.corpus.documents import Dialogue, Document, Labelled, text_of
from textgen.corpus.shuffling import Column, Lengths, Shuffle
from textgen.corpus.splits import SplitName
from textgen.options import RowKind
from textgen.tokenizers import Ids, Tokenizer

Flags = npt.NDArray[np.uint8]


class IdWriter:
    """Writes the ids of one part, counting; nothing of it is seen before ``publish``.

    With an ``order`` documents are written in it, else as they come. Where the rows have turns, a
    second file says of each id whether predicting it counts. Where they have ``labels``, a second
    file has the place in these of each row's.
    """

    def __init__(
        self,
        folder: Path,
        part: SplitName,
        documents: bool,
        kind: RowKind,
        labels: Sequence[str] = (),
        order: Shuffle | None = None,
    ) -> None:
        self.sizes = SplitSizes()
        self.unknown = Counter[str]()
        self._documents = documents
        self._masked = kind in MASKED
        self._labels = {label: number for number, label in enumerate(labels)}
        self._order = order
        self._dtypes: list[npt.DTypeLike] = []
        paths = [split_path(folder, part)]
        if self._masked:
            paths.append(counted_path(folder, part))
        if labels:
            paths.append(labels_path(folder, part))
        self._paths = {path.with_name(f"{path.name}.{os.getpid()}.tmp"): path for path in paths}
        self._open = ExitStack()
        self._files = [self._open.enter_context(path.open("wb")) for path in self._paths]

    def add(self, documents: Sequence[Document], tokenizer: Tokenizer) -> None:
        """Append documents, or pieces of one text."""
        ids, counted, lengths = self._encode(documents, tokenizer)
        first = int(self._documents and self.sizes.tokens == 0)
        if first:  # also the first document follows an end
            begin = (np.array([tokenizer.end_id], tokenizer.dtype), np.zeros(1, np.uint8))
            for file, item in zip(self._files, begin[: 1 + self._masked], strict=False):
                file.write(item.tobytes())
        columns: list[Column] = [(ids, lengths)]
        if self._masked:
            columns.append((counted, lengths))
        if self._labels:
            columns.append((self._count_labels(documents), np.ones_like(lengths)))
        self._write(columns)
        texts = list(map(text_of, documents))
        self.sizes = replace(
            self.sizes,
            tokens=self.sizes.tokens + first + len(ids),
            characters=self.sizes.characters + sum(map(len, texts)),
            documents=self.sizes.documents + (len(texts) if self._documents else 0),
            unknown=self.sizes.unknown + self._unknown(ids, texts, tokenizer),
            spelt=self.sizes.spelt + tokenizer.count_spelt(ids),
        )
        if self._masked:
            self._count(documents, counted)

    def _write(self, columns: Sequence[Column]) -> None:
        """One column to each file, now or in the order."""
        if self._order is not None:
            self._dtypes = [values.dtype for values, _ in columns]
            self._order.add(columns)
            return
        for file, (values, _) in zip(self._files, columns, strict=True):
            file.write(values.tobytes())

    def _count_labels(self, documents: Sequence[Document]) -> npt.NDArray[np.uint16]:
        labels = [each.label for each in documents if isinstance(each, Labelled)]
        classes = Counter(self.sizes.classes) + Counter(labels)
        self.sizes = replace(self.sizes, classes=dict(sorted(classes.items())))
        return np.array([self._labels[label] for label in labels], np.uint16)

    def _encode(
        self, documents: Sequence[Document], tokenizer: Tokenizer
    ) -> tuple[Ids, Flags, Lengths]:
        """The ids, which of them count, and how many each document has."""
        if not self._documents:
            ids = tokenizer.encode("".join(map(text_of, documents)))
            return ids, np.ones(len(ids), np.uint8), np.array([len(ids)])
        if not self._masked:
            ids = tokenizer.encode_documents(map(text_of, documents))
            ends = np.flatnonzero(ids == tokenizer.end_id)
            return ids, np.ones(len(ids), np.uint8), np.diff(ends, prepend=-1)
        rows = [encode_parts(each, tokenizer) for each in documents]
        lengths = np.array([sum(len(ids) for ids, _, _ in row) for row in rows])
        parts = [part for row in rows for part in row]
        flags = [np.full(len(part), counts, np.uint8) for part, _, counts in parts]
        return np.concatenate([part for part, _, _ in parts]), np.concatenate(flags), lengths

    def _unknown(self, ids: Ids, texts: list[str], tokenizer: Tokenizer) -> int:
        if tokenizer.unknown_id is None or not (ids == tokenizer.unknown_id).any():
            return 0
        found = tokenizer.count_unknown("".join(texts))
        self.unknown += found
        return found.total()

    def _count(self, documents: Sequence[Document], counted: Flags) -> None:
        characters = sum(each.counted for each in documents if isinstance(each, Dialogue))
        characters += sum(len(each) for each in documents if isinstance(each, str))
        self.sizes = replace(
            self.sizes,
            counted_tokens=self.sizes.counted_tokens + int(counted.sum()),
            counted_characters=self.sizes.counted_characters + characters,
        )

    def publish(self) -> None:
        """Sync the files and give them their names."""
        if self._order is not None:
            self._order.write(self._files, self._dtypes)
        for file, (temporary, path) in zip(self._files, self._paths.items(), strict=True):
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        if self._order is not None:
            self._order.close()
        for temporary in self._paths:
            temporary.unlink(missing_ok=True)


def encode_parts(document: Document, tokenizer: Tokenizer) -> list[tuple[Ids, str, bool]]:
    """The ids of a document and its end in parts, each with its text and whether it counts."""
    if not isinstance(document, Dialogue):
        text = text_of(document)
        return [(tokenizer.encode_documents([text]), text, True)]
    parts: list[tuple[Ids, str, bool]] = []
    for turn in document.turns:
        if turn.mark is not None:
            mark: Ids = np.array([tokenizer.special_ids[turn.mark]], tokenizer.dtype)
            parts.append((mark, "", False))
        ids = (
            tokenizer.encode_documents([turn.text]) if turn.closed else tokenizer.encode(turn.text)
        )
        parts.append((ids, turn.text, turn.counted))
    return parts
