"""The files that one corpus is made from, and what the result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from textgen.corpus.dataset import FORMAT
from textgen.corpus.documents import MOST_LABELS, Document, Labelled, kind_of
from textgen.corpus.encoding import Encoding, detect_encoding
from textgen.corpus.sources import Source, read_documents
from textgen.corpus.splits import SPLITS, SplitName
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.events import OnEvent, choice
from textgen.objectives import marks_of
from textgen.options import Hyperparameters, RowKind
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
        wanted = options.objectives is None or "classify" in options.objectives
        _check_wanted(options, wanted)
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
        self.kind: RowKind | None = None  # of the rows; known once one was read
        self.labels: Collection[str] | None = None  # that rows may have; None: any
        self.classes = options.objectives is not None and "classify" in options.objectives
        self.marks = marks_of(tuple(options.weights))
        self.encodings = [
            detect_encoding(source.path, source.encoding, name=source.shown) for source in self.all
        ]

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

    def announce(self, on_event: OnEvent) -> None:
        """Tell which files are not read as they are."""
        for source, encoding in zip(self.all, self.encodings, strict=True):
            if encoding.converted:
                on_event(choice("encoding", encoding.name, f"{source.shown}: {encoding.reason}"))

    def digest(self, tokenizer: Tokenizer | None) -> str:
        """SHA-256 of everything that the ids depend on."""
        pairs = zip(self.all, self.encodings, strict=True)
        content = {
            "format": FORMAT,
            "files": [
                [
                    _file_sha256(source.path),
                    source.kind,
                    [source.column, source.prompt_column, source.completion_column],
                    encoding.name,
                ]
                for source, encoding in pairs
            ],
            "parts": [len(self.by_part[name]) for name in SPLITS],
            "fractions": [self.valid_fraction, self.test_fraction],
            "tokenizer": [*self.vocabulary, *self.marks]
            if tokenizer is None
            else tokenizer.to_dict(),
        }
        if self._begins_with_a_label():
            content["labels"] = [source.label_column for source in self.all]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _begins_with_a_label(self) -> bool:
        """Whether the rows have labels: the first one decides. InvalidCorpus where they must."""
        if self.documents:
            for first in self.read("train"):
                if isinstance(first, Labelled):
                    return True
                break
        if self.classes:
            raise InvalidCorpus(
                f"'objectives' has 'classify', but {self.all[0].shown} has no labels: give rows "
                '{"text": "...", "label": "..."}, or a csv file with columns text and label, or '
                "name its columns in the options 'column' and 'label_column'.",
                code="no_labels",
                param="objectives",
            )
        return False

    def read(self, part: SplitName) -> Iterator[Document]:
        """The documents, or pieces of text, of all files given for ``part``.

        InvalidCorpus where a row is of another kind than the first that was read.
        """
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
                if isinstance(document, Labelled):
                    self._check_label(source, number, document.label)
                yield document

    def _check_label(self, source: Source, number: int, label: str) -> None:
        if self.labels is None or label in self.labels:
            return
        known = ", ".join(map(repr, list(self.labels)[:20]))
        raise InvalidCorpus(
            f"{source.shown}, text {number}: the label {label!r} is in no training file, so it "
            f"cannot be learnt; those there are: {known}. Correct it, or add rows with it to the "
            "training file.",
            code="unknown_label",
            param="label",
        )


def _check_wanted(options: Hyperparameters, labels: bool) -> None:
    if options.label_column is not None and not labels:
        raise InvalidOption(
            f"'label_column' is {options.label_column!r}, but 'objectives' has no 'classify' that "
            "would learn the labels. Add it, or leave the column out.",
            param="label_column",
        )


def _read_as(sources: Sequence[Source], labels: bool) -> list[Source]:
    return [
        source if source.labels == labels else replace(source, labels=labels) for source in sources
    ]


def check_labels(labels: Collection[str]) -> None:
    """InvalidCorpus where there is nothing to tell apart, or too much."""
    if len(labels) == 1:
        raise InvalidCorpus(
            f"All rows have the label {next(iter(labels))!r}; to tell classes apart, rows of at "
            "least two are needed. To learn the texts alone, train with the objective causal.",
            code="one_label",
        )
    if len(labels) > MOST_LABELS:
        some = ", ".join(map(repr, sorted(labels)[:3]))
        raise InvalidCorpus(
            f"The rows have more than {MOST_LABELS:,} different labels, {some} among them. Give "
            "fewer classes, or train with the objective causal, which leaves labels aside.",
            code="too_many_labels",
        )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
