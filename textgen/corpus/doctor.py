"""What a look at a text tells before training on it: size, odd things, and what would be chosen.

One pass in constant memory. A text that cannot be trained on is refused with the same
InvalidCorpus as in training.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

from textgen.corpus.copies import Copies
from textgen.corpus.documents import MOST_LABELS, Document, Labelled, text_of
from textgen.corpus.encode import MIN_TRAIN_TOKENS
from textgen.corpus.encoding import BLOCK, Encoding, detect_encoding
from textgen.corpus.labels import check_labels
from textgen.corpus.oddities import Tally, find_oddities
from textgen.corpus.report import Report, Suggestion, ToBeat
from textgen.corpus.sources import Source, read_documents
from textgen.corpus.tokenizer_choice import choose_tokenizer
from textgen.costs import parameters, training_bytes
from textgen.errors import InvalidCorpus
from textgen.evaluation.baselines import KneserNey, Ppm
from textgen.options import Hyperparameters
from textgen.presets import DEFAULT_SECONDS, CorpusStats, choose_preset
from textgen.tokenizers import CharTokenizer

_COUNTED = 1_000_000  # characters that the models by counting see
_FEWEST_COUNTED = 1_000


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
    tally, copies = Tally(), Copies(documents=source.has_documents)
    classes = Counter[str]()
    start: list[str] = []
    room = _COUNTED if count else 0
    for text in _lines(source, encoding, classes):
        tally.line(text)
        copies.line(text)
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
        line_lengths={str(percent): _length(tally, percent) for percent in (50, 90, 99)},
        letters=letters(counts),
        commonest={
            character: round(count / counts.total(), 4)
            for character, count in counts.most_common(10)
        },
        near_duplicates=copies.near,
        repeated=copies.repeated,
        personal_data=dict(sorted(tally.personal.items())),
        findings=tuple(find_oddities(tally, counts, encoding)),
        suggestion=_suggestion(counts, seconds, threads, device),
        to_beat=_to_beat(start, source.has_documents),
        classes=dict(classes.most_common()),
    )


def _length(tally: Tally, percent: int) -> int:
    """What as many percent of the lines are no longer than."""
    left = tally.lines * percent / 100
    for length, count in sorted(tally.lengths.items()):
        left -= count
        if left <= 0:
            return length
    return tally.longest


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
    chosen = choose_tokenizer(len(counts))
    vocab_size = chosen.vocab_size or CharTokenizer.train(counts).vocab_size
    tokens = counts.total()  # of pieces about as many
    wanted = Hyperparameters(max_seconds=seconds)
    stats = CorpusStats(int(tokens * (1 - wanted.validation_fraction)), vocab_size)
    preset, events = choose_preset(stats, wanted, threads=threads, device=device)
    return Suggestion(
        tokenizer=chosen.name,
        vocab_size=vocab_size,
        model=f"{preset.model.layers}×{preset.model.hidden_size}",
        parameters=parameters(preset.model, vocab_size),
        batch_size=preset.batch_size,
        memory_bytes=training_bytes(preset, vocab_size),
        seconds=seconds,
        reasons=(
            f"tokenizer = {chosen.name}: {chosen.reason}",
            *(event.message for event in events),
        ),
    )
