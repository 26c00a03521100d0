"""Dealing a corpus out to its parts, each written as ids, and looking at it on the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from textgen.corpus.dataset import SplitSizes
from textgen.corpus.documents import Document, text_of
from textgen.corpus.encoding import BLOCK
from textgen.corpus.files import CorpusFiles
from textgen.corpus.id_writer import IdWriter
from textgen.corpus.passages import OVERLAP_WINDOW, DistinctSample, Sample, Windows, shared
from textgen.corpus.personal_data import Masker
from textgen.corpus.shuffling import Shuffle
from textgen.corpus.splits import SPLITS, SplitName, Splitter
from textgen.options import RowKind
from textgen.signs_of_life import SignsOfLife
from textgen.tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Scan:
    """What one reading of the training files shows."""

    splitter: Splitter
    symbols: int
    kind: RowKind
    characters: int
    labels: tuple[str, ...] = ()  # sorted


@dataclass(frozen=True, slots=True)
class Written:
    """What the writing of all parts counted."""

    splits: dict[SplitName, SplitSizes]
    unknown: Counter[str]
    overlap: float | None


def write_parts(
    corpus: CorpusFiles, scan: Scan, tokenizer: Tokenizer, folder: Path, alive: SignsOfLife
) -> Written:
    """Write the ids of all parts under ``folder``; nothing is seen before all of it is whole."""
    corpus.masker = Masker()  # this reading is the one that counts
    passages = {
        "train": DistinctSample(),
        "valid": Sample(),
    }
    windows = {part: Windows(OVERLAP_WINDOW, documents=corpus.documents) for part in passages}
    with ExitStack() as stack:
        writers = {
            part: stack.enter_context(
                IdWriter(
                    folder,
                    part,
                    corpus.documents,
                    scan.kind,
                    scan.labels,
                    _order(corpus, scan, folder, part),
                )
            )
            for part in SPLITS
        }
        dealt: Iterable[tuple[SplitName, Document]] = chain(
            scan.splitter.deal(corpus.read("train")),
            (("valid", text) for text in corpus.read("valid")),
            (("test", text) for text in corpus.read("test")),
        )
        characters = 0
        for part, texts in _gathered_by_part(dealt):
            writers[part].add(texts, tokenizer)
            if part in passages:
                passages[part].add(windows[part].add(map(text_of, texts)))
            characters += sum(map(len, texts))
            alive.tell("encoding the text", characters, scan.characters)
        for writer in writers.values():
            writer.publish()
    return Written(
        splits={part: writer.sizes for part, writer in writers.items()},
        unknown=sum((writer.unknown for writer in writers.values()), Counter[str]()),
        overlap=shared(passages["valid"], passages["train"]),
    )


def _order(corpus: CorpusFiles, scan: Scan, folder: Path, part: SplitName) -> Shuffle | None:
    """Sorted files must not hurt: documents come in an order of the seed's."""
    if not corpus.shuffle:
        return None
    scratch = folder / f"{part}.{os.getpid()}.order.tmp"
    own = sum(source.path.stat().st_size for source in corpus.by_part[part])  # bytes
    return Shuffle(scratch, corpus.seed, scan.characters if part == "train" else own)


def _gathered_by_part(
    dealt: Iterable[tuple[SplitName, Document]],
) -> Iterator[tuple[SplitName, list[Document]]]:
    gathered: dict[SplitName, list[Document]] = {part: [] for part in SPLITS}
    lengths: dict[SplitName, int] = dict.fromkeys(SPLITS, 0)
    for part, text in dealt:
        gathered[part].append(text)
        lengths[part] += len(text) + 1  # the end counts too: empty texts may be many
        if lengths[part] >= BLOCK:
            yield part, gathered[part]
            gathered[part], lengths[part] = [], 0
    yield from ((part, texts) for part, texts in gathered.items() if texts)


def gathered_in_blocks(texts: Iterable[Document]) -> Iterator[list[Document]]:
    """The texts in lists of about a block of characters: few long arrays are fast."""
    gathered, length = list[Document](), 0
    for text in texts:
        gathered.append(text)
        length += len(text)
        if length >= BLOCK:
            yield gathered
            gathered, length = [], 0
    if gathered:
        yield gathered
