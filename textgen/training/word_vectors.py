"""Trainings whose embedding begins with word vectors that somebody has learnt before.

As the first layer of language models has used them since Mikolov et al. (2013) and Pennington et
al. (2014); docs/word-vectors.md has what they bring here.
"""

from __future__ import annotations

import numpy as np
import torch

from textgen.bundles.bundle import Bundle
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.id_blocks import counts_of
from textgen.corpus.word_vectors import FoundVectors, WordVectors
from textgen.errors import InvalidCheckpoint, InvalidCorpus, InvalidOption
from textgen.events import Event, OnEvent, choice
from textgen.model import TextGenerator
from textgen.options import Hyperparameters
from textgen.plan import Plan
from textgen.signs_of_life import SignsOfLife

_FEW = 0.5  # of the words of the text; fewer is worth a warning


def with_word_vectors(
    wanted: Hyperparameters, vectors: WordVectors | None, base: Bundle | None, on_event: OnEvent
) -> Hyperparameters:
    """The wishes with what the vectors settle: words as tokens, and the embedding's width.

    InvalidOption for what does not go with them.
    """
    if vectors is None:
        if wanted.freeze_embeddings:
            raise InvalidOption(
                "'freeze_embeddings' is given, but there is no 'embeddings_file' whose vectors "
                "could stay as they are. Give one, or leave it out.",
                param="freeze_embeddings",
            )
        return wanted
    _check_company(wanted, base)
    if wanted.embedding_size not in (None, vectors.size):
        raise InvalidOption(
            f"'embedding_size' is {wanted.embedding_size}, but the vectors in {vectors.name} have "
            f"{vectors.size} numbers. Leave it out, or give vectors of that size.",
            param="embedding_size",
        )
    settled: dict[str, object] = {}
    if wanted.embedding_size is None:
        settled["embedding_size"] = vectors.size
        on_event(choice("embedding_size", vectors.size, f"of the vectors in {vectors.name}"))
    if wanted.tokenizer is None:
        settled["tokenizer"] = "word"
        on_event(choice("tokenizer", "word", "vectors of words are given"))
    # Read again: not every vocabulary is one of words.
    return Hyperparameters.parse({**wanted.model_dump(exclude_unset=True), **settled})


def _check_company(wanted: Hyperparameters, base: Bundle | None) -> None:
    """InvalidOption where somebody else settles what the tokens are, or what becomes of them."""
    refused = {
        "model": (base is not None, "the model to continue from has an embedding already"),
        "privacy": (
            wanted.privacy is not None,
            "a private training reads bytes, which are no words",
        ),
        "tie_weights": (
            bool(wanted.tie_weights) and wanted.freeze_embeddings,
            "the output's weights would be frozen too",
        ),
    }
    for param, (given, reason) in refused.items():
        if given:
            what = "freeze_embeddings" if param == "tie_weights" else "embeddings_file"
            raise InvalidOption(
                f"{what!r} does not go with {param!r}: {reason}. Leave one of them out.",
                param=param,
            )


def begin_with_vectors(
    model: TextGenerator,
    plan: Plan,
    corpus: EncodedCorpus,
    vectors: WordVectors | None,
    on_event: OnEvent,
) -> None:
    """Give a new model the vectors that its plan names; how far they reach is told.

    All are multiplied by one number, so that they are as large as the weights that the model
    would begin with, which is what the rates of the presets were measured for. InvalidCheckpoint
    for other vectors than the plan's, InvalidCorpus ``no_word_vectors`` where there is none for
    any token.
    """
    given = None if vectors is None else vectors.sha256()
    if given != plan.embeddings:
        raise InvalidCheckpoint(
            "The plan belongs to a training with other word vectors. Go on with the file that it "
            "was made with, or start anew."
        )
    if vectors is None:
        return
    alive = SignsOfLife(on_event)
    found = alive.during("reading word vectors", lambda: vectors.of(corpus.tokenizer))
    alive.end()
    if not found.found.any():
        raise InvalidCorpus(
            f"{vectors.name} has vectors for {found.lines:,} words, and none of them is a token "
            f"of the tokenizer {plan.tokenizer}. Give vectors of the text's language, and the "
            "tokenizer word, or unigram for Chinese.",
            code="no_word_vectors",
            param="embeddings_file",
        )
    on_event(_coverage(found, corpus, vectors.name))
    table = found.table[found.found]
    scale = model.embedding_scale / np.sqrt(np.square(table, dtype=np.float64).mean())
    with torch.no_grad():
        rows = torch.from_numpy(found.found)
        model.embedding.weight[rows] = torch.from_numpy(table * np.float32(scale))


def _coverage(found: FoundVectors, corpus: EncodedCorpus, name: str) -> Event:
    """How many of the words have a vector: of the vocabulary, and of the training text."""
    counts = counts_of(corpus.tokens("train"), len(found.words))
    have, words = found.found & found.words, found.words
    vocabulary = have.sum() / max(words.sum(), 1)
    text = counts[have].sum() / max(counts[words].sum(), 1)
    message = (
        f"{name} has vectors for {have.sum():,} of the vocabulary's {words.sum():,} words, which "
        f"are {100 * text:.1f} % of the words in the training text"
    )
    data = {
        "vectors": found.lines,
        "size": found.table.shape[1],
        "found": int(have.sum()),
        "vocabulary": round(float(vocabulary), 6),
        "text": round(float(text), 6),
    }
    return Event("word_vectors", message, "info" if text >= _FEW else "warn", data)
