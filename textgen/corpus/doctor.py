"""What a look at a text tells before training on it: size, odd things, and what would be chosen.

One pass in constant memory. A text that cannot be trained on is refused with the same
InvalidCorpus as in training.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator

from textgen.corpus.copies import Copies
from textgen.corpus.dataset import MASKED
from textgen.corpus.documents import MOST_LABELS, Document, Labelled, kind_of, text_of
from textgen.corpus.encode import DEFAULT_TOKENIZER, MIN_TRAIN_TOKENS, WHY_DEFAULT
from textgen.corpus.encoding import BLOCK, Encoding
from textgen.corpus.labels import check_labels
from textgen.corpus.oddities import Tally, find_oddities
from textgen.corpus.report import Report, Suggestion, ToBeat
from textgen.corpus.sources import Source, read_documents
from textgen.corpus.splits import DocumentSplitter, HashExtremes, SplitName
from textgen.costs import parameters, tokens_per_second, training_bytes
from textgen.errors import InvalidCorpus
from textgen.evaluation.baselines import KneserNey, Ppm
from textgen.options import Hyperparameters, RowKind
from textgen.presets import DEFAULT_SECONDS, CorpusStats, choose_preset
from textgen.softmax import sampled_classes
from textgen.tokenizers import CharTokenizer

_COUNTED = 1_000_000  # characters that the models by counting see
_FEWEST_COUNTED = 1_000
_HEARD_EVERY = 5_000  # lines
_COVERED = (50, 90, 99, 99.9, 100)  # percent of the text
_TIMES = (60.0, 300.0, 1800.0, 7200.0)  # seconds of training to choose among
_ENOUGH_PASSES = 3


def examine(
    source: Source,
    seconds: float = DEFAULT_SECONDS,
    *,
    threads: int = 1,
    device: str = "cpu",
    count: bool = True,
    on_lines: Callable[[int], None] | None = None,
) -> Report:
    """Look at ``source`` with a training of ``seconds`` on ``threads`` in mind.

    ``count`` also says what counting alone gets, which takes some seconds. ``on_lines`` is told
    now and then how many lines were read, and may raise to end it.
    """
    encoding = source.find_encoding()
    tally, copies = Tally(), Copies(documents=source.has_documents)
    classes, kinds = Counter[str](), set[RowKind]()
    start: list[str] = []
    room = _COUNTED if count else 0
    for text in _lines(source, encoding, classes, kinds):
        tally.line(text)
        copies.line(text)
        if on_lines is not None and tally.lines % _HEARD_EVERY == 0:
            on_lines(tally.lines)
        if room > 0:
            start.append(text[:room])
            room -= len(text)
    tally.flush()
    counts = tally.characters.counts()
    _check(source, counts)
    times = tuple(_suggestion(counts, each, threads, device) for each in _TIMES)
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
        length_counts=_length_counts(tally),
        line_lengths={str(percent): _length(tally, percent) for percent in (50, 90, 99)},
        letters=letters(counts),
        commonest={
            character: round(count / counts.total(), 4)
            for character, count in counts.most_common(10)
        },
        covering=_covering(counts),
        near_duplicates=copies.near,
        repeated=copies.repeated,
        personal_data=dict(sorted(tally.personal.items())),
        findings=tuple(find_oddities(tally, counts, encoding, one_text=source.kind == "text")),
        suggestion=_suggestion(counts, seconds, threads, device),
        times=times,
        recommended_seconds=_recommended(times),
        to_beat=None if kinds & set(MASKED) else _to_beat(start, source.has_documents),
        classes=dict(classes.most_common()),
    )


def _length(tally: Tally, percent: int) -> int:
    """What as many percent of the lines are no longer than."""
    left = tally.lines * percent / 100
    for length, count in sorted(tally.lengths.items()):
        left -= count
        if left <= 0:
            return min(length, tally.longest)
    return tally.longest


def _length_counts(tally: Tally) -> tuple[tuple[int, int], ...]:
    """How many lines are how long: bounds that double, the last one that of the longest."""
    bins = Counter[int]()
    for length, count in tally.lengths.items():
        bins[max(length - 1, 0).bit_length()] += count
    found = [(1 << power, bins[power]) for power in range(min(bins), max(bins) + 1)]
    found[-1] = (max(tally.longest, 1), found[-1][1])
    return tuple(found)


def _covering(counts: Counter[str]) -> dict[str, int]:
    """How many of the commonest symbols make up how much of the text."""
    found, seen, symbols = dict[str, int](), 0, 0
    left = [(f"{percent:g}", percent * counts.total() / 100) for percent in _COVERED]
    for _, count in counts.most_common():
        seen, symbols = seen + count, symbols + 1
        while left and seen >= left[0][1]:
            found[left.pop(0)[0]] = symbols
    return found


def _recommended(times: tuple[Suggestion, ...]) -> float:
    """The shortest time that reads the text often enough, else the longest."""
    enough = [each.seconds for each in times if each.passes >= _ENOUGH_PASSES]
    return enough[0] if enough else times[-1].seconds


def letters(counts: Counter[str]) -> dict[str, float]:
    """The shares of kinds of characters, the largest first."""
    found = Counter[str]()
    for character, count in counts.items():
        found[_kind(character)] += count
    return {kind: round(count / counts.total(), 4) for kind, count in found.most_common()}


def _kind(character: str) -> str:
    if character.isspace():
        return "spaces"
    if character.isalpha():
        name = unicodedata.name(character, "")
        return "Chinese characters" if name.startswith("CJK") else "letters"
    if character.isnumeric():
        return "digits"
    return "punctuation" if unicodedata.category(character)[0] in "PS" else "other"


def _to_beat(texts: list[str], documents: bool) -> ToBeat | None:
    """Two models by counting, held to what a training is held to; None where there is too little.

    Of prompts and messages a training is held to the answers alone, which they do not tell apart.

    One text is measured on its tail, documents on those that a training of the defaults holds out.
    """
    if documents:
        train, rest = _dealt(texts)
    else:
        whole = "".join(texts)
        cut = len(whole) * 9 // 10
        train, rest = [whole[:cut]], [whole[cut:]]
    if sum(map(len, train)) < _FEWEST_COUNTED or not any(rest):
        return None
    kneser_ney = KneserNey.learn(train, documents=documents)
    ppm = Ppm.learn(train, documents=documents)
    return ToBeat(
        characters=sum(map(len, texts)),
        kneser_ney=kneser_ney.nats_per_character(rest, ends=True),
        ppm=ppm.nats_per_character(rest, ends=True),
    )


def _dealt(texts: list[str]) -> tuple[list[str], list[str]]:
    extremes = HashExtremes()
    for text in texts:
        extremes.add(text)
    fraction = Hyperparameters().validation_fraction
    parts: dict[SplitName, list[str]] = {"train": [], "valid": []}
    for part, document in DocumentSplitter.by_fraction(extremes, fraction, 0).deal(texts):
        parts[part].append(text_of(document))
    return parts["train"], parts["valid"]


def _lines(
    source: Source, encoding: Encoding, classes: Counter[str], kinds: set[RowKind]
) -> Iterator[str]:
    """Documents, or the lines of a text with their ends; very long ones in pieces.

    Labels are counted in ``classes``, as far as they can be learnt; ``kinds`` gets those of rows.
    """
    texts = map(text_of, _counted(read_documents(source, encoding), classes, kinds))
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


def _counted(
    documents: Iterator[Document], classes: Counter[str], kinds: set[RowKind]
) -> Iterator[Document]:
    for document in documents:
        kinds.add(kind_of(document))
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
    vocab_size = CharTokenizer.train(counts).vocab_size
    wanted = Hyperparameters(max_seconds=seconds)
    stats = CorpusStats(
        int(counts.total() * (1 - wanted.validation_fraction)),
        vocab_size,
        sampled_classes(vocab_size, wanted, device=device),
    )
    preset, events = choose_preset(stats, wanted, threads=threads, device=device)
    speed = tokens_per_second(preset.model, stats.classes, threads=threads, device=device)
    return Suggestion(
        tokenizer=DEFAULT_TOKENIZER,
        vocab_size=vocab_size,
        model=f"{preset.model.layers}×{preset.model.hidden_size}",
        parameters=parameters(preset.model, vocab_size),
        batch_size=preset.batch_size,
        memory_bytes=training_bytes(preset, vocab_size, stats.classes),
        seconds=seconds,
        passes=round(seconds * speed / max(stats.tokens, 1), 2),
        reasons=(
            f"tokenizer = {DEFAULT_TOKENIZER}: {WHY_DEFAULT}",
            *(event.message for event in events),
        ),
    )
