"""The files that one corpus is made from, and what the result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from textgen.corpus.cleaning import Cleaning
from textgen.corpus.dataset import FORMAT
from textgen.corpus.documents import Document, Labelled, kind_of
from textgen.corpus.duplicates import Deduplicator
from textgen.corpus.encoding import Encoding
from textgen.corpus.labels import check_known, check_there_may_be_none, labels_are_wanted
from textgen.corpus.personal_data import Masker, recogniser_versions
from textgen.corpus.sources import Source, read_documents
from textgen.corpus.splits import SPLITS, SplitName
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.events import OnEvent, choice
from textgen.objectives import marks_of
from textgen.options import Deduplication, Hyperparameters, Normalization, RowKind
from textgen.tokenizers import Tokenizer


class CorpusFiles:
    """The files of one corpus, each with its encoding, and how they are to be split."""

    def __init__(
        self,
        train: Sequence[Source],
        valid: Sequence[Source],
        test: Sequence[Source],
        options: Hyperparameters,
    ) -> None:
        wanted = labels_are_wanted(options)
        self.by_part: dict[SplitName, Sequence[Source]] = {
            "train": _read_as(train, wanted),
            "valid": _read_as(valid, wanted),
            "test": _read_as(test, wanted),
        }
        self.all = [source for part in self.by_part.values() for source in part]
        self.documents = self._one_kind()
        self.valid_fraction = 0.0 if valid else options.validation_fraction
        self.test_fraction = 0.0 if test else options.test_fraction
        self.vocabulary = (options.tokenizer, options.vocab_size)
        self.form: Normalization = options.normalization or "none"
        self.masks = options.mask_personal_data
        self.masker = Masker()  # counts what was masked since it was put here
        self.shuffle = options.shuffle and self.documents
        self.seed = options.seed or 0
        self.deduplicator = self._deduplicator(options.deduplicate)
        self.kind: RowKind | None = None  # of the rows; known once one was read
        self.labels: Collection[str] | None = None  # that rows may have; None: any
        self.objectives = options.objectives
        self.marks = marks_of(tuple(options.weights))
        self.encodings = [source.find_encoding() for source in self.all]

    def _one_kind(self) -> bool:
        if not self.by_part["train"]:
            raise InvalidCorpus("Give at least one file of text.", code="empty_file")
        kinds = {source.has_documents for source in self.all}
        if len(kinds) > 1:
            names = ", ".join(f"{source.shown} ({source.kind})" for source in self.all[:5])
            raise InvalidCorpus(
                f"Files of one text and files of many documents cannot be mixed: {names}. "
                "Give the text file the format 'lines', or give files of one kind.",
                code="mixed_formats",
                param="format",
            )
        return kinds.pop()

    def _deduplicator(self, how: Deduplication) -> Deduplicator | None:
        if how == "off":
            return None
        if not self.documents:
            raise InvalidOption(
                f"'deduplicate' is {how!r}, but one text has no rows that could be left out. Give "
                "it the format 'lines' if each of its lines stands for itself.",
                param="deduplicate",
            )
        return Deduplicator(how)

    def announce(self, on_event: OnEvent) -> None:
        """Tell which files are not read as they are."""
        for source, encoding in zip(self.all, self.encodings, strict=True):
            if encoding.converted:
                on_event(choice("encoding", encoding.name, f"{source.shown}: {encoding.reason}"))

    def digest(self, tokenizer: Tokenizer | None) -> str:
        """SHA-256 of everything that the ids depend on.

        Options that change nothing of the text have no part in it.
        """
        content = {
            "format": FORMAT,
            "files": self._contents,
            "parts": [len(self.by_part[name]) for name in SPLITS],
            "fractions": [self.valid_fraction, self.test_fraction],
            "tokenizer": [*self.vocabulary, *self.marks]
            if tokenizer is None
            else tokenizer.to_dict(),
            **self._changes(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _labelled(self) -> bool:
        """Whether the rows have labels: the first one decides. InvalidCorpus where they must."""
        first = next(self._as_written("train"), None) if self.documents else None
        if not isinstance(first, Labelled):
            check_there_may_be_none(self.objectives, self.all[0])
        return isinstance(first, Labelled)

    @cached_property
    def _contents(self) -> list[list[Any]]:
        return [
            [
                _file_sha256(source.path),
                source.kind,
                [source.column, source.prompt_column, source.completion_column],
                encoding.name,
            ]
            for source, encoding in zip(self.all, self.encodings, strict=True)
        ]

    def _changes(self) -> dict[str, Any]:
        """What the options change of the text or its order."""
        changes: dict[str, Any] = {}
        if self.form != "none":
            changes["normalization"] = self.form
        if self.masks:
            changes["masked"] = recogniser_versions()
        if self.deduplicator is not None:
            changes["deduplicate"] = self.deduplicator.how
        if self.shuffle:
            changes["shuffle"] = self.seed
        if self._labelled:
            changes["labels"] = [source.label_column for source in self.all]
        return changes

    def read(self, part: SplitName) -> Iterator[Document]:
        """The documents, or pieces of text, of all files given for ``part``, as they are learnt.

        InvalidCorpus where a row is of another kind than the first that was read.
        """
        masker = self.masker if self.masks else None
        cleaning = Cleaning(self.form, masker, self.deduplicator if part == "train" else None)
        clean = cleaning.documents if self.documents else cleaning.pieces
        return clean(self._as_written(part))

    def _as_written(self, part: SplitName) -> Iterator[Document]:
        encodings: dict[Source, Encoding] = dict(zip(self.all, self.encodings, strict=True))
        for source in self.by_part[part]:
            for number, document in enumerate(read_documents(source, encodings[source]), 1):
                kind = kind_of(document)
                self.kind = self.kind or kind
                if kind != self.kind:
                    raise InvalidCorpus(
                        f"{source.shown} has rows of {kind}, and a file before it rows of "
                        f"{self.kind}; give files of one kind.",
                        code="mixed_formats",
                        param="format",
                    )
                if isinstance(document, Labelled) and self.labels is not None:
                    check_known(document.label, self.labels, source, number)
                yield document


def _read_as(sources: Sequence[Source], labels: bool) -> list[Source]:
    return [
        source if source.labels == labels else replace(source, labels=labels) for source in sources
    ]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
