"""From files of text to a corpus of ids, in constant memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from textgen.corpus.dataset import CorpusFacts, EncodedCorpus, SplitSizes, find_corpus, save_header
from textgen.corpus.documents import (
    MARKS,
    MOST_LABELS,
    Document,
    Labelled,
    label_mark,
    text_of,
    texts_of,
)
from textgen.corpus.encoding import BLOCK
from textgen.corpus.events import tell
from textgen.corpus.files import CorpusFiles, check_labels
from textgen.corpus.id_writer import IdWriter
from textgen.corpus.sources import Source
from textgen.corpus.splits import (
    SPLITS,
    DocumentSplitter,
    HashExtremes,
    SplitName,
    Splitter,
    TextSplitter,
)
from textgen.errors import InvalidCorpus
from textgen.events import OnEvent, choice, ignore
from textgen.options import PIECE_TOKENIZERS, Hyperparameters, RowKind, TokenizerName
from textgen.tokenizers import TOKENIZERS, CharTokenizer, Learner, Tokenizer, with_marks
from textgen.tokenizers.char import CharacterCounter
from textgen.tokenizers.widening import widened

MIN_TRAIN_TOKENS = 32
_MANY_SYMBOLS = 20_000  # above, most characters are too rare to learn as one symbol each


def encode_corpus(
    sources: Sequence[Source],
    options: Hyperparameters,
    folder: Path,
    *,
    validation_sources: Sequence[Source] = (),
    test_sources: Sequence[Source] = (),
    on_event: OnEvent = ignore,
    tokenizer: Tokenizer | None = None,
) -> EncodedCorpus:
    """The ids of ``sources`` under ``folder``, made now or found there from an earlier call.

    A tokenizer is learnt from the training part alone unless one is given, which then gets the
    characters that it does not know; either has the marks that the objectives need. Where
    validation or test files are given, nothing of the training files is held out for that part.
    InvalidCorpus ``corpus_too_small`` or ``one_symbol`` for texts that nothing can be learnt from.
    """
    corpus = CorpusFiles(sources, validation_sources, test_sources, options)
    corpus.announce(on_event)
    sha256 = corpus.digest(tokenizer)
    if found := find_corpus(folder, sha256):
        tell(found, "Found encoded", on_event)
        return found
    folder.mkdir(parents=True, exist_ok=True)
    scan = _scan(corpus)
    if tokenizer is None:
        tokenizer = _learn(corpus, scan, options, on_event)
    else:
        tokenizer = _widened(tokenizer, corpus, scan, on_event)
    marks = (*MARKS[scan.kind], *map(label_mark, scan.labels), *corpus.marks)
    tokenizer = with_marks(tokenizer, tuple(dict.fromkeys(marks)))
    splits, unknown = _write(corpus, scan, tokenizer, folder)
    _check_sizes(splits, corpus)
    facts = CorpusFacts(
        bytes=sum(source.path.stat().st_size for source in corpus.all),
        symbols=scan.symbols,
        encodings=tuple(encoding.name for encoding in corpus.encodings),
        commonest_unknown=dict(unknown.most_common(20)),
    )
    made = EncodedCorpus(
        folder, sha256, tokenizer, corpus.documents, scan.kind, splits, facts, scan.labels
    )
    save_header(made)
    tell(made, "Encoded", on_event)
    return made


@dataclass(frozen=True, slots=True)
class _Scan:
    """What one reading of the training files shows."""

    splitter: Splitter
    symbols: int
    kind: RowKind
    labels: tuple[str, ...]  # sorted


def _scan(corpus: CorpusFiles) -> _Scan:
    counter, extremes, characters = CharacterCounter(), HashExtremes(), 0
    labels = set[str]()
    valid, test = corpus.valid_fraction, corpus.test_fraction
    for texts in _gathered(corpus.read("train")):
        counter.add("".join(map(text_of, texts)))
        characters += sum(map(len, texts))
        labels.update(each.label for each in texts if isinstance(each, Labelled))
        if len(labels) > MOST_LABELS:
            check_labels(labels)
        if corpus.documents and (valid > 0 or test > 0):
            for text in texts:
                extremes.add(text)
    symbols = len(counter.counts())
    if symbols == 1 and characters >= MIN_TRAIN_TOKENS:
        raise InvalidCorpus(
            f"The text is one character, repeated {characters:,} times; there is nothing to "
            "learn from it. Give a text with more than one.",
            code="one_symbol",
        )
    check_labels(labels)
    if labels:
        corpus.labels = sorted(labels)
    splitter: Splitter = TextSplitter.by_fraction(characters, valid, test)
    if corpus.documents:
        splitter = DocumentSplitter.by_fraction(extremes, valid, test)
    return _Scan(splitter, symbols, corpus.kind or "text", tuple(sorted(labels)))


def _gathered(texts: Iterable[Document]) -> Iterator[list[Document]]:
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


def _learn(
    corpus: CorpusFiles, scan: _Scan, options: Hyperparameters, on_event: OnEvent
) -> Tokenizer:
    name = options.tokenizer
    if name is None:
        name, reason = choose_tokenizer(scan.symbols)
        on_event(choice("tokenizer", name, reason))
    tokenizer = _taught(TOKENIZERS[name].learner(options.vocab_size), corpus, scan)
    if name in PIECE_TOKENIZERS and tokenizer.vocab_size != options.vocab_size:
        reason = (
            "by the length of the text"
            if options.vocab_size is None
            else f"the text has no more pieces that come twice, so not {options.vocab_size:,}"
        )
        on_event(choice("vocab_size", tokenizer.vocab_size, reason))
    return tokenizer


def _taught(learner: Learner, corpus: CorpusFiles, scan: _Scan) -> Tokenizer:
    """What the learner makes of the training part."""
    train = (text for part, text in scan.splitter.deal(corpus.read("train")) if part == "train")
    for documents in _gathered(train):
        texts = [text for document in documents for text in texts_of(document)]
        if corpus.documents:
            learner.add_documents(texts)
        else:
            learner.add("".join(texts))
    return learner.finish()


def _widened(
    tokenizer: Tokenizer, corpus: CorpusFiles, scan: _Scan, on_event: OnEvent
) -> Tokenizer:
    """The tokenizer of a model to go on from, with the characters that are new to it."""
    if tokenizer.unknown_id is None:
        return tokenizer
    wider = widened(tokenizer, _taught(CharTokenizer.learner(), corpus, scan))
    if new := wider.vocab_size - tokenizer.vocab_size:
        reason = f"the model to continue from does not know {new:,} characters of this text"
        on_event(choice("vocab_size", wider.vocab_size, reason))
    return wider


def choose_tokenizer(symbols: int) -> tuple[TokenizerName, str]:
    """The tokenizer for a text of ``symbols`` distinct characters, and the reason."""
    if symbols > _MANY_SYMBOLS:
        return "byte", f"{symbols:,} different characters are too many to learn one by one"
    return "char", f"{symbols:,} different characters make a small vocabulary"


def _write(
    corpus: CorpusFiles, scan: _Scan, tokenizer: Tokenizer, folder: Path
) -> tuple[dict[SplitName, SplitSizes], Counter[str]]:
    with ExitStack() as stack:
        writers = {
            part: stack.enter_context(
                IdWriter(folder, part, corpus.documents, scan.kind, scan.labels)
            )
            for part in SPLITS
        }
        dealt: Iterable[tuple[SplitName, Document]] = chain(
            scan.splitter.deal(corpus.read("train")),
            (("valid", text) for text in corpus.read("valid")),
            (("test", text) for text in corpus.read("test")),
        )
        for part, texts in _gathered_by_part(dealt):
            writers[part].add(texts, tokenizer)
        for writer in writers.values():
            writer.publish()
    unknown = sum((writer.unknown for writer in writers.values()), Counter[str]())
    return {part: writer.sizes for part, writer in writers.items()}, unknown


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


def _check_sizes(splits: dict[SplitName, SplitSizes], corpus: CorpusFiles) -> None:
    tokens = splits["train"].tokens
    if tokens < MIN_TRAIN_TOKENS:
        raise InvalidCorpus(
            f"The training text has {tokens} tokens; at least {MIN_TRAIN_TOKENS} are needed. "
            "Give a longer text.",
            code="corpus_too_small",
        )
    held_out: tuple[tuple[SplitName, str, float], ...] = (
        ("valid", "validation_fraction", corpus.valid_fraction),
        ("test", "test_fraction", corpus.test_fraction),
    )
    for part, option, fraction in held_out:
        wanted = fraction > 0 or bool(corpus.by_part[part])
        if wanted and splits[part].tokens < 2:
            raise InvalidCorpus(
                f"The {part} part has {splits[part].tokens} tokens; at least 2 are needed. Give "
                f"more text, a larger {option}, or {option} 0.",
                code="corpus_too_small",
                param=option,
            )
