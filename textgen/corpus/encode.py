"""From files of text to a corpus of ids, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textgen.corpus.corpus_events import corpus_events
from textgen.corpus.dataset import CorpusFacts, EncodedCorpus, SplitSizes, find_corpus, save_header
from textgen.corpus.documents import MARKS, MOST_LABELS, Labelled, label_mark, text_of, texts_of
from textgen.corpus.files import CorpusFiles
from textgen.corpus.labels import check_labels
from textgen.corpus.sources import Source
from textgen.corpus.splits import (
    SPLITS,
    DocumentSplitter,
    HashExtremes,
    SplitName,
    Splitter,
    TextSplitter,
)
from textgen.corpus.writing import Scan, Written, gathered_in_blocks, write_parts
from textgen.errors import InvalidCorpus
from textgen.events import OnEvent, choice, ignore
from textgen.options import PIECE_TOKENIZERS, Hyperparameters, TokenizerName
from textgen.signs_of_life import SignsOfLife
from textgen.tokenizers import (
    TOKENIZERS,
    CharTokenizer,
    Learner,
    Tokenizer,
    with_marks,
    with_normalization,
)
from textgen.tokenizers.char import CharacterCounter
from textgen.tokenizers.widening import widened

MIN_TRAIN_TOKENS = 32
DEFAULT_TOKENIZER: TokenizerName = "char"  # docs/experiments.md compares them
WHY_DEFAULT = "in equal time whole characters are learnt better than pieces"


def encode_corpus(
    sources: Sequence[Source],
    options: Hyperparameters,
    folder: Path,
    *,
    validation_sources: Sequence[Source] = (),
    test_sources: Sequence[Source] = (),
    on_event: OnEvent = ignore,
    tokenizer: Tokenizer | None = None,
    resumed: str | None = None,
    widen: bool = True,
) -> EncodedCorpus:
    """The ids of ``sources`` under ``folder``, made now or found there from an earlier call.

    A tokenizer is learnt from the training part alone unless one is given, which then gets the
    characters that it does not know if it may ``widen``; either has the marks that the rows and
    objectives need. Where
    validation or test files are given, nothing of the training files is held out for that part.
    ``resumed`` is the hash of the corpus that a checkpoint belongs to: documents stay in the
    files' order where they were then.
    InvalidCorpus ``corpus_too_small`` or ``one_symbol`` for texts that nothing can be learnt from.
    """
    corpus = CorpusFiles(sources, validation_sources, test_sources, options)
    corpus.announce(on_event)
    if tokenizer is not None:
        corpus.form = tokenizer.normalization
    sha256 = _digest(corpus, tokenizer, resumed)
    if found := find_corpus(folder, sha256):
        for event in corpus_events(found, "Found encoded"):
            on_event(event)
        return found
    folder.mkdir(parents=True, exist_ok=True)
    alive = SignsOfLife(on_event)
    scan = _scan(corpus, alive)
    if tokenizer is None:
        tokenizer = _learn(corpus, scan, options, on_event, alive)
    elif widen:
        tokenizer = _widened(tokenizer, corpus, scan, on_event)
    marks = (*MARKS[scan.kind], *map(label_mark, scan.labels), *corpus.marks)
    tokenizer = with_marks(tokenizer, tuple(dict.fromkeys(marks)))
    written = write_parts(corpus, scan, tokenizer, folder, alive)
    _check_sizes(written.splits, corpus)
    made = EncodedCorpus(
        folder,
        sha256,
        tokenizer,
        corpus.documents,
        scan.kind,
        written.splits,
        _facts(corpus, scan, written),
        scan.labels,
    )
    save_header(made)
    alive.end()
    for event in corpus_events(made):
        on_event(event)
    return made


def _digest(corpus: CorpusFiles, tokenizer: Tokenizer | None, resumed: str | None) -> str:
    """The corpus's hash, in the files' order where that is the one to go on with."""
    sha256 = corpus.digest(tokenizer)
    if corpus.shuffle and resumed not in (None, sha256):
        corpus.shuffle = False
        in_files_order = corpus.digest(tokenizer)
        if in_files_order == resumed:
            return in_files_order
        corpus.shuffle = True
    return sha256


def _facts(corpus: CorpusFiles, scan: Scan, written: Written) -> CorpusFacts:
    found = None if corpus.deduplicator is None else corpus.deduplicator.found
    return CorpusFacts(
        bytes=sum(source.path.stat().st_size for source in corpus.all),
        symbols=scan.symbols,
        encodings=tuple(encoding.name for encoding in corpus.encodings),
        commonest_unknown=dict(written.unknown.most_common(20)),
        masked=dict(sorted(corpus.masker.counts.items())),
        overlap=written.overlap,
        left_out={} if found is None else {"copies": found.copies, "near": found.near},
        order_seed=corpus.seed if corpus.shuffle else None,
        own_files=tuple(part for part in SPLITS[1:] if corpus.by_part[part]),
    )


def _scan(corpus: CorpusFiles, alive: SignsOfLife) -> Scan:
    counter, extremes, characters = CharacterCounter(), HashExtremes(), 0
    labels = set[str]()
    valid, test = corpus.valid_fraction, corpus.test_fraction
    for texts in gathered_in_blocks(corpus.read("train")):
        counter.add("".join(map(text_of, texts)))
        characters += sum(map(len, texts))
        labels.update(each.label for each in texts if isinstance(each, Labelled))
        if len(labels) > MOST_LABELS:
            check_labels(labels)
        alive.tell("reading the text", characters)
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
    return Scan(splitter, symbols, corpus.kind or "text", characters, tuple(sorted(labels)))


def _learn(
    corpus: CorpusFiles,
    scan: Scan,
    options: Hyperparameters,
    on_event: OnEvent,
    alive: SignsOfLife,
) -> Tokenizer:
    name, size = options.tokenizer, options.vocab_size
    if name is None:
        name = DEFAULT_TOKENIZER
        on_event(choice("tokenizer", name, WHY_DEFAULT))
    learner = TOKENIZERS[name].learner(size)
    tokenizer = alive.during("learning the vocabulary", lambda: _taught(learner, corpus, scan))
    if name in PIECE_TOKENIZERS and tokenizer.vocab_size != size:
        reason = "by the length of the text"
        if size is not None:
            reason = f"the text has no more pieces that come twice, so not {size:,}"
        on_event(choice("vocab_size", tokenizer.vocab_size, reason))
    return with_normalization(tokenizer, corpus.form)


def _taught(learner: Learner, corpus: CorpusFiles, scan: Scan) -> Tokenizer:
    """What the learner makes of the training part."""
    train = (text for part, text in scan.splitter.deal(corpus.read("train")) if part == "train")
    for documents in gathered_in_blocks(train):
        texts = [text for document in documents for text in texts_of(document)]
        if corpus.documents:
            learner.add_documents(texts)
        else:
            learner.add("".join(texts))
    return learner.finish()


def _widened(tokenizer: Tokenizer, corpus: CorpusFiles, scan: Scan, on_event: OnEvent) -> Tokenizer:
    """The tokenizer of a model to go on from, with the characters that are new to it."""
    if tokenizer.unknown_id is None:
        return tokenizer
    wider = widened(tokenizer, _taught(CharTokenizer.learner(), corpus, scan))
    if new := wider.vocab_size - tokenizer.vocab_size:
        reason = f"the model to continue from does not know {new:,} characters of this text"
        on_event(choice("vocab_size", wider.vocab_size, reason))
    return wider


def _check_enough_is_left(splits: dict[SplitName, SplitSizes], corpus: CorpusFiles) -> None:
    """InvalidCorpus where the text would be long enough if nothing of it were held out."""
    taken: tuple[tuple[SplitName, str, float], ...] = (
        ("valid", "validation_fraction", corpus.valid_fraction),
        ("test", "test_fraction", corpus.test_fraction),
    )
    tokens = splits["train"].tokens
    held_out = {option: splits[part].tokens for part, option, share in taken if share > 0}
    if tokens + sum(held_out.values()) < MIN_TRAIN_TOKENS:
        return
    option, count = max(held_out.items(), key=lambda item: item[1])
    if corpus.documents:
        raise InvalidCorpus(
            f"{option!r} holds out rows of {count:,} tokens, which leaves {tokens} tokens to learn "
            f"from; at least {MIN_TRAIN_TOKENS} are needed, and equal rows are never divided. Give "
            f"other rows too, or a smaller {option}; 0 holds nothing out.",
            code="corpus_too_small",
            param=option,
        )
    raise InvalidCorpus(
        f"{option!r} holds out {count:,} tokens, which leaves {tokens} tokens to learn from; at "
        f"least {MIN_TRAIN_TOKENS} are needed. Give a longer text, or a smaller {option}; 0 holds "
        "nothing out.",
        code="corpus_too_small",
        param=option,
    )


def _check_sizes(splits: dict[SplitName, SplitSizes], corpus: CorpusFiles) -> None:
    tokens = splits["train"].tokens
    if tokens < MIN_TRAIN_TOKENS:
        _check_enough_is_left(splits, corpus)
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
