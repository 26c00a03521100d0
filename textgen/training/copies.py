"""The index of what a model has read, so that it can be kept from repeating it."""

from __future__ import annotations

from textgen.bundles.bundle import Bundle
from textgen.corpus.copy_index import LARGEST_TEXT, CopyIndex, build, training_texts
from textgen.corpus.dataset import EncodedCorpus
from textgen.errors import InvalidOption
from textgen.events import OnEvent
from textgen.options import Hyperparameters
from textgen.signs_of_life import SignsOfLife


def check_copy_index(wanted: Hyperparameters, corpus: EncodedCorpus, start: Bundle | None) -> None:
    """InvalidOption where an index is wanted that could not tell every copy."""
    length = wanted.copy_index
    if length is None:
        return
    characters = corpus.splits["train"].characters
    if characters > LARGEST_TEXT:
        raise InvalidOption(
            f"'copy_index' is given for a training text of {characters:,} characters; at most "
            f"{LARGEST_TEXT:,} can be indexed. Leave it out, or train on less text.",
            param="copy_index",
        )
    if start is not None and start.header.copy_index != length:
        has = start.header.copy_index
        raise InvalidOption(
            f"'copy_index' is {length}, but the model to continue from has "
            f"{'none' if has is None else has}, so that copies of what it learnt before could not "
            f"be told. {'Leave it out' if has is None else f'Give {has}'}, or train from scratch.",
            param="copy_index",
        )


def copy_index(
    wanted: Hyperparameters, corpus: EncodedCorpus, start: Bundle | None, on_event: OnEvent
) -> CopyIndex | None:
    """The index of the text of this training and of those before; None where none is wanted."""
    if wanted.copy_index is None:
        return None
    window = wanted.copy_index + 1
    before = () if start is None or start.copies is None else start.copies.filters
    texts = training_texts(corpus.tokenizer, corpus.tokens("train"))
    characters = corpus.splits["train"].characters
    alive = SignsOfLife(on_event)
    own = alive.during("indexing the training text", lambda: build(texts, window, characters))
    alive.end()
    return CopyIndex(window, [*before, own])
