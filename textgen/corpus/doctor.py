"""What a look at a text tells before training on it: size, odd things, and what would be chosen.

One pass in constant memory. A text that cannot be trained on is refused with the same
InvalidCorpus as in training.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from textgen.corpus.documents import MOST_LABELS, Document, Labelled, text_of
from textgen.corpus.encode import MIN_TRAIN_TOKENS, choose_tokenizer
from textgen.corpus.encoding import BLOCK, Encoding, detect_encoding
from textgen.corpus.files import check_labels
from textgen.corpus.oddities import Finding, Tally, find_oddities
from textgen.corpus.sources import Source, read_documents
from textgen.costs import parameters, training_bytes
from textgen.errors import InvalidCorpus
from textgen.evaluation.baselines import KneserNey, Ppm
from textgen.options import Hyperparameters
from textgen.presets import DEFAULT_SECONDS, CorpusStats, choose_preset
from textgen.tokenizers import TOKENIZERS, CharTokenizer

_COUNTED = 1_000_000  # characters that the models by counting see
_FEWEST_COUNTED = 1_000
_CLASSES = 10  # that are named


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What ``lstm-auto`` would take; memory in bytes, ``reasons`` for people."""

    tokenizer: str
    vocab_size: int
    model: str
    parameters: int
    batch_size: int
    memory_bytes: int
    seconds: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToBeat:
    """What counting alone gets: a model that ends above it has learnt less than that."""

    characters: int  # looked at, from the start of the file; the last tenth was predicted
    kneser_ney: float  # of order 5, nats per character
    ppm: float  # of order 5, nats per character

    @property
    def lower(self) -> float:
        """The better of the two."""
        return min(self.kneser_ney, self.ppm)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one file. ``lines`` are the documents where it holds documents."""

    name: str
    format: str
    bytes: int
    encoding: str
    characters: int
    symbols: int
    lines: int
    empty_lines: int
    duplicate_lines: int
    longest_line: int
    findings: tuple[Finding, ...]
    suggestion: Suggestion
    to_beat: ToBeat | None  # None where the text is too short, or it was not asked for
    classes: dict[str, int]  # rows of each label, the commonest first; none where rows have none

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_text(self) -> str:
        """A page for people."""
        units = "lines" if self.format in ("text", "lines") else "documents"
        choice = self.suggestion
        head = [
            f"{self.name}: {self.format}, {self.bytes:,} bytes, {self.encoding}",
            f"  {self.characters:,} characters, {self.symbols:,} different ones",
            f"  {self.lines:,} {units}, {self.empty_lines:,} empty, {self.duplicate_lines:,} "
            f"repeated; the longest has {self.longest_line:,} characters",
        ]
        odd = [f"  - {finding.message}" for finding in self.findings]
        shape = (
            f"  {choice.model} ({choice.parameters:,} weights), tokenizer {choice.tokenizer} with "
            f"{choice.vocab_size:,} ids, about {choice.memory_bytes >> 20:,} MB of memory"
        )
        return "\n".join(
            [
                *head,
                *self._classes(),
                "To look at:" if odd else "Nothing odd was found.",
                *odd,
                f"For {choice.seconds:,.0f} seconds of training:",
                shape,
                *(f"  {reason}" for reason in choice.reasons),
                *self._to_beat(),
            ]
        )

    def _classes(self) -> list[str]:
        if not self.classes:
            return []
        shown = [f"{label} {count:,}" for label, count in list(self.classes.items())[:_CLASSES]]
        more = len(self.classes) - len(shown)
        names = ", ".join(shown) + (f" and {more:,} more" if more else "")
        return [f"  {len(self.classes):,} classes: {names}"]

    def _to_beat(self) -> list[str]:
        found = self.to_beat
        if found is None:
            return []
        return [
            "To beat:",
            f"  {found.lower:.2f} nats a character ({found.lower / math.log(2):.2f} bits) without "
            f"any training, by counting: 5-grams {found.kneser_ney:.2f}, PPM {found.ppm:.2f}",
            f"  (learnt from nine tenths of {found.characters:,} characters, measured on the rest; "
            "a model whose validation loss ends higher needs more time or more text)",
        ]


def examine(
    source: Source,
    seconds: float = DEFAULT_SECONDS,
    *,
    threads: int = 1,
    device: str = "cpu",
    count: bool = True,
) -> Report:
    """Look at ``source`` with a training of ``seconds`` on ``threads`` in mind.

    ``count`` also says what counting alone gets, which takes some seconds.
    """
    encoding = detect_encoding(source.path, source.encoding, name=source.shown)
    tally, classes = Tally(), Counter[str]()
    start: list[str] = []
    room = _COUNTED if count else 0
    for text in _lines(source, encoding, classes):
        tally.line(text)
        if room > 0:
            start.append(text[:room])
            room -= len(text)
    tally.flush()
    counts = tally.characters.counts()
    _check(source, counts)
    return Report(
        name=source.shown,
        format=source.kind,
        bytes=source.path.stat().st_size,
        encoding=encoding.name,
        characters=counts.total(),
        symbols=len(counts),
        lines=tally.lines,
        empty_lines=tally.empty,
        duplicate_lines=tally.duplicates,
        longest_line=tally.longest,
        findings=tuple(find_oddities(tally, counts, encoding)),
        suggestion=_suggestion(counts, seconds, threads, device),
        to_beat=_to_beat(start, source.has_documents),
        classes=dict(classes.most_common()),
    )


def _to_beat(texts: list[str], documents: bool) -> ToBeat | None:
    """Two models by counting, learnt from the first nine tenths; None where there is too little.

    Documents are each predicted from their own beginning.
    """
    if not documents:
        whole = "".join(texts)
        cut = len(whole) * 9 // 10
        train, rest = [whole[:cut]], [whole[cut:]]
    else:
        cut = len(texts) * 9 // 10
        train, rest = texts[:cut], texts[cut:]
    if sum(map(len, train)) < _FEWEST_COUNTED or not any(rest):
        return None
    return ToBeat(
        characters=sum(map(len, texts)),
        kneser_ney=KneserNey.learn(train).nats_per_character(rest),
        ppm=Ppm.learn(train).nats_per_character(rest),
    )


def _lines(source: Source, encoding: Encoding, classes: Counter[str]) -> Iterator[str]:
    """Documents, or the lines of a text with their ends; very long ones in pieces.

    Labels are counted in ``classes``, as far as they can be learnt.
    """
    texts = map(text_of, _counted(read_documents(source, encoding), classes))
    if source.has_documents:
        yield from texts
        return
    rest = ""
    for piece in texts:
        *lines, rest = (rest + piece).split("\n")
        yield from (f"{line}\n" for line in lines)
        if len(rest) > BLOCK:
            yield rest
            rest = ""
    if rest:
        yield rest


def _counted(documents: Iterator[Document], classes: Counter[str]) -> Iterator[Document]:
    for document in documents:
        if isinstance(document, Labelled):
            classes[document.label] += 1
            if len(classes) > MOST_LABELS:
                check_labels(classes)
        yield document
    check_labels(classes)


def _check(source: Source, counts: Counter[str]) -> None:
    """The refusals that training would make, as far as the file alone decides them."""
    if counts.total() < MIN_TRAIN_TOKENS:
        raise InvalidCorpus(
            f"{source.shown} has {counts.total()} characters; at least {MIN_TRAIN_TOKENS} are "
            "needed. Give a longer text.",
            code="corpus_too_small",
        )
    if len(counts) == 1:
        raise InvalidCorpus(
            f"{source.shown} is one character, repeated; there is nothing to learn from it.",
            code="one_symbol",
        )


def _suggestion(counts: Counter[str], seconds: float, threads: int, device: str) -> Suggestion:
    name, why = choose_tokenizer(len(counts))
    if name == "char":
        vocab_size, tokens = CharTokenizer.train(counts).vocab_size, counts.total()
    else:
        vocab_size = TOKENIZERS[name].learner().finish().vocab_size
        tokens = sum(len(character.encode()) * count for character, count in counts.items())
    wanted = Hyperparameters(max_seconds=seconds)
    stats = CorpusStats(int(tokens * (1 - wanted.validation_fraction)), vocab_size)
    preset, events = choose_preset(stats, wanted, threads=threads, device=device)
    return Suggestion(
        tokenizer=name,
        vocab_size=vocab_size,
        model=f"{preset.model.layers}×{preset.model.hidden_size}",
        parameters=parameters(preset.model, vocab_size),
        batch_size=preset.batch_size,
        memory_bytes=training_bytes(preset, vocab_size),
        seconds=seconds,
        reasons=(f"tokenizer = {name}: {why}", *(event.message for event in events)),
    )
