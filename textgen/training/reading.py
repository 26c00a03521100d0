"""The texts of a training in ids, by a tokenizer of their own or by that of the model before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textgen.bundles.bundle import Bundle
from textgen.bundles.checkpoint import Checkpoint
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption
from textgen.events import OnEvent, choice
from textgen.options import Hyperparameters
from textgen.tokenizers import Tokenizer, load_tokenizer


def read_corpus(
    files: tuple[Sequence[Source], Sequence[Source], Sequence[Source]],
    wanted: Hyperparameters,
    folder: Path,
    on_event: OnEvent,
    start: Bundle | None,
    checkpoint: Checkpoint | None,
) -> EncodedCorpus:
    """The corpus in ids, by a tokenizer of its own or by the base's."""
    tokenizer = None
    if start is not None:
        tokenizer = _kept_tokenizer(start.tokenizer, wanted)
    elif checkpoint is not None and checkpoint.header.base is not None:
        tokenizer = load_tokenizer(checkpoint.header.tokenizer)
    elif wanted.privacy is not None and wanted.tokenizer is None:
        on_event(choice("tokenizer", "byte", "the others are learnt from the text"))
        wanted = wanted.model_copy(update={"tokenizer": "byte"})
    sources, validation_sources, test_sources = files
    return encode_corpus(
        sources,
        wanted,
        folder / "corpus",
        validation_sources=validation_sources,
        test_sources=test_sources,
        on_event=on_event,
        tokenizer=tokenizer,
        resumed=None if checkpoint is None else checkpoint.training.corpus_hash,
        widen=wanted.privacy is None,
    )


def _kept_tokenizer(tokenizer: Tokenizer, wanted: Hyperparameters) -> Tokenizer:
    """The base's tokenizer; a wish for another is refused."""
    for option, value, kept in (
        ("tokenizer", wanted.tokenizer, tokenizer.name),
        ("vocab_size", wanted.vocab_size, tokenizer.vocab_size),
        ("normalization", wanted.normalization, tokenizer.normalization),
    ):
        if value not in (None, kept):
            raise InvalidOption(
                f"{option!r} is {value}, but the model to continue from has {kept}. Leave it out, "
                "or train from scratch.",
                param=option,
            )
    return tokenizer


def with_objectives(
    wanted: Hyperparameters, corpus: EncodedCorpus, on_event: OnEvent
) -> Hyperparameters:
    """What is learnt of labelled rows where nothing is said: their labels."""
    if wanted.objectives is not None or corpus.kind != "labels":
        return wanted
    on_event(choice("objectives", "classify", "the rows have labels"))
    return wanted.model_copy(update={"objectives": {"classify": 1.0}})
