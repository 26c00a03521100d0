"""Models of random weights, for tests of what is done with a model rather than how it learns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import pytest
import torch

from textgen.bundles.bundle import Bundle, BundleHeader, count_parameters
from textgen.engine.engine import Delta, Engine
from textgen.model import TextGenerator
from textgen.options import ModelOptions
from textgen.tokenizers import CharTokenizer, Tokenizer

ALPHABET = "\n abcdefghijklmnopqrstuvwxyz.,我是一名程序员"


class BundleMaker(Protocol):
    def __call__(
        self,
        layers: int = 1,
        hidden: int = 32,
        embedding: int = 16,
        *,
        tokenizer: Tokenizer | None = None,
        documents: bool = False,
        seed: int = 0,
        spread: float = 1.0,
    ) -> Bundle: ...


@pytest.fixture(scope="session")
def make_bundle() -> BundleMaker:
    """Bundles in memory. ``spread`` scales the head: larger values give less even chances."""

    def make(
        layers: int = 1,
        hidden: int = 32,
        embedding: int = 16,
        *,
        tokenizer: Tokenizer | None = None,
        documents: bool = False,
        seed: int = 0,
        spread: float = 1.0,
    ) -> Bundle:
        tokenizer = CharTokenizer(ALPHABET) if tokenizer is None else tokenizer
        options = ModelOptions(layers=layers, hidden_size=hidden, embedding_size=embedding)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = TextGenerator.from_options(tokenizer.vocab_size, options).eval()
        with torch.no_grad():
            model.output.weight *= spread
        header = BundleHeader(
            model=options,
            tokenizer=tokenizer.to_dict(),
            vocab_size=tokenizer.vocab_size,
            parameters=count_parameters(model),
            documents=documents,
        )
        return Bundle(header, tokenizer, model)

    return make


def drawn_from(model: TextGenerator, count: int) -> np.ndarray:
    """Ids that the model itself draws at temperature 1, so that it is calibrated for them."""
    generator, hidden, ids = torch.Generator().manual_seed(5), None, [1]
    with torch.no_grad():
        for _ in range(count):
            logits, hidden = model(torch.tensor([ids[-1:]]), hidden)
            chances = torch.softmax(logits[0, 0], 0)
            ids.append(int(torch.multinomial(chances, 1, generator=generator)))
    return np.array(ids, np.uint16)


def run(engine: Engine) -> list[Delta]:
    """All that the engine gives out until it is idle."""
    deltas = []
    while engine.busy:
        deltas += engine.step()
    return deltas


def texts(deltas: Iterable[Delta]) -> dict[str, str]:
    """The whole text of each request."""
    joined: dict[str, str] = {}
    for delta in deltas:
        joined[delta.id] = joined.get(delta.id, "") + delta.text
    return joined
