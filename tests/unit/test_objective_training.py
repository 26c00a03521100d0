"""Trainings with other objectives than the next token, by the library's main entrance."""

from __future__ import annotations

from pathlib import Path

import pytest

from textgen.bundles.bundle import load_bundle
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption
from textgen.events import Event
from textgen.options import Hyperparameters
from textgen.plan import Plan
from textgen.training.train import train_files

TEXT = "the cat sat. the dog ran! a bird sang. who came? the end was near. " * 60


def write(folder: Path, text: str = TEXT, name: str = "text.txt") -> Source:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return Source(path)


def wanted(**values: object) -> Hyperparameters:
    defaults = {"max_steps": 60, "batch_size": 8, "sequence_length": 32, "hidden_size": 32}
    return Hyperparameters.parse({**defaults, **values})


def train(folder: Path, source: Source, options: Hyperparameters, **more: object) -> Path:
    path = train_files(
        [source],
        folder=folder,
        preset="lstm-tiny",
        hyperparameters=options,
        **more,  # type: ignore[arg-type]
    )
    assert path is not None
    return path


def test_each_objective_is_reported_and_the_bundle_says_what_it_learnt(tmp_path: Path) -> None:
    events: list[Event] = []
    options = wanted(objectives={"causal": 2, "infill": 1, "mask": 1, "order": 1})
    bundle = load_bundle(train(tmp_path, write(tmp_path), options, on_event=events.append))
    assert bundle.header.objectives == ("causal", "infill", "mask", "order")
    last = [event.data for event in events if event.type == "metrics"][-2]
    for name in ("causal", "infill", "mask", "order"):
        assert last[f"train_{name}_loss"] > 0
    for name in ("infill", "mask", "order"):
        assert last[f"valid_{name}_loss"] > 0
        assert 0 <= last[f"valid_{name}_mean_token_accuracy"] <= 1
        assert bundle.header.metrics[f"full_valid_{name}_loss"] is not None
    assert bundle.header.metrics["full_valid_bits_per_character"] is not None


def test_a_training_of_several_objectives_goes_on_where_it_stopped(tmp_path: Path) -> None:
    source = write(tmp_path)
    options = wanted(objectives=["causal", "infill", "order"])
    events: list[Event] = []
    path = train(tmp_path / "whole", source, options, on_event=events.append)
    whole = load_bundle(path).model.state_dict()
    (plan,) = (Plan.parse(event.data["plan"]) for event in events if event.type == "plan")
    asked = iter(range(10**6))
    stopped = train_files(
        [source], folder=tmp_path / "cut", preset="lstm-tiny", hyperparameters=options,
        plan=plan, on_event=events.append, should_stop=lambda: next(asked) == 23,
    )  # fmt: skip
    assert stopped is None
    checkpoint = Path(next(e.data["path"] for e in reversed(events) if e.type == "checkpoint"))
    resumed = train(tmp_path / "cut", source, options, plan=plan, resume=checkpoint)
    for name, value in load_bundle(resumed).model.state_dict().items():
        assert value.equal(whole[name]), name


def test_a_model_learns_a_further_objective_and_further_characters(tmp_path: Path) -> None:
    base = train(tmp_path / "base", write(tmp_path), wanted())
    further = write(tmp_path, TEXT.replace("bird", "bïrd") + "ÄÖ", "further.txt")
    options = Hyperparameters.parse({"max_steps": 20, "objectives": ["causal", "infill"]})
    path = train_files([further], folder=tmp_path / "further", hyperparameters=options, base=base)
    assert path is not None
    bundle = load_bundle(path)
    assert bundle.header.objectives == ("causal", "infill")
    assert bundle.tokenizer.count_unknown("bïrd").total() == 0
    assert bundle.header.base is not None


def test_a_text_without_sentences_cannot_teach_their_order(tmp_path: Path) -> None:
    source = write(tmp_path, "abcdefgh" * 200)
    with pytest.raises(InvalidOption, match=r"'order'.*Leave it out"):
        train(tmp_path, source, wanted(objectives=["causal", "order"]))


@pytest.mark.parametrize("value", [["poetry"], {"causal": 0}, {"causal": -1}, [], {}])
def test_objectives_that_cannot_be_are_refused(value: object) -> None:
    with pytest.raises(InvalidOption, match="objectives"):
        Hyperparameters.parse({"objectives": value})


def test_names_with_commas_are_a_list() -> None:
    found = Hyperparameters.parse({"objectives": "causal,infill"})
    assert found.weights == {"causal": 1.0, "infill": 1.0}
