"""What a new model believes before its first step: how often each symbol comes in the text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.unit.training_files import TEXT, Listener, outcome, small, text_file
from textgen.bundles.bundle import Bundle
from textgen.corpus.sources import Source
from textgen.options import Hyperparameters
from textgen.training.train import train_files

STILL = {"max_steps": 1, "learning_rate": 1e-7, "dropout": 0.0, "tokenizer": "char"}


def untrained(folder: Path, source: Source | None = None, **options: object) -> Bundle:
    """After one step that changes nothing to speak of."""
    path = train_files(
        [text_file(folder) if source is None else source],
        folder=folder / "out",
        hyperparameters=small(**{**STILL, **options}),
        on_event=Listener(),
    )
    assert path is not None
    return outcome(path)[0]


def test_symbols_are_as_likely_as_they_come(tmp_path: Path) -> None:
    bundle = untrained(tmp_path, validation_fraction=0.0)

    bias = bundle.model.output.bias
    chances = bias.softmax(0)
    counts = Counter(TEXT)
    for symbol, count in counts.items():
        (token,) = bundle.tokenizer.encode(symbol).tolist()
        assert chances[token].item() == pytest.approx(count / len(TEXT), rel=0.1, abs=2e-4)
    assert bias.exp().sum().item() == pytest.approx(1.0, abs=1e-3)


def test_marks_of_tasks_are_as_likely_as_any_symbol(tmp_path: Path) -> None:
    bundle = untrained(tmp_path, objectives={"causal": 0.5, "mask": 0.5})

    marks = set(bundle.tokenizer.special_ids.values()) - {bundle.tokenizer.end_id}
    chances = bundle.model.output.bias.softmax(0)
    assert marks
    for mark in marks:
        assert chances[mark].item() == pytest.approx(1 / len(chances), rel=0.3)


def test_a_private_training_does_not_tell_them(tmp_path: Path) -> None:
    source = text_file(tmp_path, "".join(f"line {number} of many\n" for number in range(3000)))
    privacy = {"epsilon": 8, "max_document_tokens": 40, "documents_per_step": 150}
    wanted = {"hidden_size": 24, "embedding_size": 8, "max_steps": 1, "learning_rate": 1e-7}
    path = train_files(
        [Source(source.path, format="lines")],
        folder=tmp_path / "out",
        hyperparameters=Hyperparameters.parse({**wanted, "privacy": privacy}),
        on_event=Listener(),
    )
    assert path is not None
    assert outcome(path)[0].model.output.bias.abs().max().item() < 1e-3


def test_labels_begin_equal(tmp_path: Path) -> None:
    rows = "".join(f'{{"text": "a line {n}", "label": "{"ab"[n % 5 == 0]}"}}\n' for n in range(400))
    source = text_file(tmp_path, rows, "rows.jsonl")
    bundle = untrained(tmp_path, source, objectives={"classify": 1.0})
    assert bundle.model.output.bias.abs().max().item() < 1e-3
