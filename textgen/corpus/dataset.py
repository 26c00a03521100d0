"""A corpus as ids on disk: train.bin, valid.bin, test.bin and corpus.json in one folder.

corpus.json is written last, so a folder that has it is complete; ``sha256`` in it names the
texts, the split and the tokenizer, so the same request finds the folder done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.corpus.documents import label_mark
from textgen.corpus.splits import SPLITS, SplitName
from textgen.options import RowKind
from textgen.tokenizers import Ids, Tokenizer, load_tokenizer

FORMAT = 2
_HEADER = "corpus.json"
MASKED: tuple[RowKind, ...] = ("prompts", "messages")  # rows of which only a part is to be learnt


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How much one part of a corpus holds; ``unknown`` and ``spelt`` are in characters."""

    tokens: int = 0
    characters: int = 0
    documents: int = 0
    unknown: int = 0
    spelt: int = 0  # characters written in several tokens, none of them whole
    counted_tokens: int = 0  # where only some count, as in prompts with completions
    counted_characters: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)  # documents of each label

    @property
    def characters_per_token(self) -> float:
        """Of the tokens that count."""
        if self.counted_tokens:
            return self.counted_characters / self.counted_tokens
        return self.characters / max(self.tokens, 1)


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What is known of the files that a corpus was made from."""

    bytes: int
    symbols: int  # distinct characters
    encodings: tuple[str, ...]  # one a file, training files first
    commonest_unknown: Mapping[str, int]  # at most 20
    masked: Mapping[str, int] = field(default_factory=dict)  # personal data, by kind
    overlap: float | None = None  # of the validation text's passages that are in the training's
    left_out: Mapping[str, int] = field(default_factory=dict)  # documents: copies, near
    order_seed: int | None = None  # of the documents' order; None: as in the files
    own_files: tuple[SplitName, ...] = ()  # parts that come from files of their own


@dataclass(frozen=True, slots=True)
class EncodedCorpus:
    """The finished corpus. In one text nothing is between the ids; see ``documents``."""

    folder: Path
    sha256: str
    tokenizer: Tokenizer
    documents: bool  # each part is: end, document, end, document, … end
    kind: RowKind
    splits: Mapping[SplitName, SplitSizes]
    facts: CorpusFacts
    labels: tuple[str, ...] = ()  # of documents that have one each

    def tokens(self, split: SplitName) -> Ids:
        """The ids of one part, mapped from disk, empty where there is none.

        Changing the array changes no file.
        """
        if self.splits[split].tokens == 0:
            return np.empty(0, self.tokenizer.dtype)
        path = split_path(self.folder, split)
        return np.memmap(path, dtype=self.tokenizer.dtype, mode="c")

    def counted(self, split: SplitName) -> npt.NDArray[np.uint8] | None:
        """For each id of a part whether predicting it counts; None where all do."""
        if self.kind not in MASKED or self.splits[split].tokens == 0:
            return None
        return np.memmap(counted_path(self.folder, split), dtype=np.uint8, mode="r")

    def label_numbers(self, split: SplitName) -> npt.NDArray[np.uint16]:
        """For each document of a part the place of its label in ``labels``."""
        if self.kind != "labels" or self.splits[split].documents == 0:
            return np.empty(0, np.uint16)
        return np.memmap(labels_path(self.folder, split), dtype=np.uint16, mode="r")

    @property
    def label_ids(self) -> list[int]:
        """The special ids of ``labels``, in their order."""
        ids = self.tokenizer.special_ids
        return [ids[label_mark(label)] for label in self.labels]

    @property
    def coverage(self) -> dict[str, float]:
        """How well the vocabulary suits the validation text, or without one the training's.

        ``unknown`` and ``spelt``: shares of its characters.
        """
        part = self.splits["valid"] if self.splits["valid"].characters else self.splits["train"]
        characters = max(part.characters, 1)
        return {
            "unknown": round(part.unknown / characters, 6),
            "spelt": round(part.spelt / characters, 6),
        }

    def as_dict(self) -> dict[str, Any]:
        """The figures for events and bundles, without the tokenizer."""
        return {
            "sha256": self.sha256,
            "documents": self.documents,
            "rows": self.kind,
            "characters": sum(sizes.characters for sizes in self.splits.values()),
            "tokens": sum(sizes.tokens for sizes in self.splits.values()),
            "unknown": sum(sizes.unknown for sizes in self.splits.values()),
            "bytes": self.facts.bytes,
            "symbols": self.facts.symbols,
            "encoding": ", ".join(sorted(set(self.facts.encodings))),
            "commonest_unknown": dict(self.facts.commonest_unknown),
            "coverage": self.coverage,
            "overlap": self.facts.overlap,
            "masked": dict(self.facts.masked),
            "left_out": dict(self.facts.left_out),
            "order_seed": self.facts.order_seed,
            "own_files": list(self.facts.own_files),
            "tokenizer": self.tokenizer.name,
            "normalization": self.tokenizer.normalization,
            "vocab_size": self.tokenizer.vocab_size,
            "splits": {name: asdict(sizes) for name, sizes in self.splits.items()},
        }


def split_path(folder: Path, split: SplitName) -> Path:
    """Where a part's ids are."""
    return folder / f"{split}.bin"


def counted_path(folder: Path, split: SplitName) -> Path:
    """Where it is said which of a part's ids count."""
    return folder / f"{split}.counted"


def labels_path(folder: Path, split: SplitName) -> Path:
    """Where the labels of a part's documents are, in their order."""
    return folder / f"{split}.labels"


def save_header(corpus: EncodedCorpus) -> None:
    """Declare the folder complete."""
    content = {
        "format": FORMAT,
        "sha256": corpus.sha256,
        "tokenizer": corpus.tokenizer.to_dict(),
        "documents": corpus.documents,
        "kind": corpus.kind,
        "splits": {name: asdict(sizes) for name, sizes in corpus.splits.items()},
        "facts": asdict(corpus.facts),
        "labels": corpus.labels,
    }
    temporary = corpus.folder / f"{_HEADER}.{os.getpid()}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(corpus.folder / _HEADER)


def find_corpus(folder: Path, sha256: str) -> EncodedCorpus | None:
    """The finished corpus of that hash in ``folder``, or None where it must be made (again)."""
    try:
        content = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["sha256"] != sha256:
            return None
        corpus = _corpus(folder, content)
        return corpus if _is_whole(corpus) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # unfinished or damaged: it can always be made again


def _is_whole(corpus: EncodedCorpus) -> bool:
    """Whether the files are as long as they should be; OSError where one is missing."""
    width = np.dtype(corpus.tokenizer.dtype).itemsize
    for name, part in corpus.splits.items():
        if split_path(corpus.folder, name).stat().st_size != part.tokens * width:
            return False
        if corpus.kind in MASKED:
            if counted_path(corpus.folder, name).stat().st_size != part.tokens:
                return False
        elif (
            corpus.kind == "labels"
            and labels_path(corpus.folder, name).stat().st_size != 2 * part.documents
        ):
            return False
    return True


def _corpus(folder: Path, content: Mapping[str, Any]) -> EncodedCorpus:
    facts = dict(content["facts"])
    facts["encodings"] = tuple(facts["encodings"])
    facts["own_files"] = tuple(facts.get("own_files", ()))
    return EncodedCorpus(
        folder=folder,
        sha256=content["sha256"],
        tokenizer=load_tokenizer(content["tokenizer"]),
        documents=content["documents"],
        kind=content["kind"],
        splits={name: SplitSizes(**content["splits"][name]) for name in SPLITS},
        facts=CorpusFacts(**facts),
        labels=tuple(content.get("labels", ())),
    )
