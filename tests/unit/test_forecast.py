"""What is said of a training's time is made of what it would really do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.unit.training_files import SMALL, Listener, small, text_file
from textgen.bundles.header import read_header
from textgen.corpus.sources import Source
from textgen.errors import InvalidInput
from textgen.options import Hyperparameters
from textgen.training.forecast import forecast
from textgen.training.train import train_files
from web.cli.app import textgen
from web.cli.forecast import forecast_apart


def test_it_is_the_plan_that_a_training_makes(tmp_path: Path) -> None:
    source, told = text_file(tmp_path), Listener()
    found = forecast([source], "lstm-tiny", small(max_steps=90), threads=1)
    train_files(
        [source], folder=tmp_path / "work", preset="lstm-tiny", hyperparameters=small(max_steps=90),
        threads=1, on_event=told,
    )  # fmt: skip
    assert found.steps == told.plan.total_steps == 90
    assert found.model == "2×24"
    assert found.corpus == told.all("corpus")[0]
    assert found.training_seconds == pytest.approx(90 * found.step_seconds)
    parts = (
        found.starting_seconds + found.preparing_seconds + found.training_seconds
    ) + found.validating_seconds
    assert found.seconds == pytest.approx(parts)
    assert min(found.preparing_seconds, found.step_seconds, found.validating_seconds) > 0


LETTERS = [f"{word} {number}" for number in range(60) for word in ("good", "bad")]


def column(folder: Path) -> Source:
    text = "".join(f"{number},{words}\n" for number, words in enumerate(LETTERS))
    return text_file(folder, f"n,said\n{text}", "rows.csv")


def labels(folder: Path) -> Source:
    rows = [{"text": words, "label": words.split()[0]} for words in LETTERS]
    return text_file(folder, "\n".join(map(json.dumps, rows)), "rows.jsonl")


def lines(folder: Path) -> Source:
    return text_file(folder, "\n".join(LETTERS * 5), "lines.txt")


PRIVATE = {
    "hidden_size": 24, "embedding_size": 8, "seed": 7, "format": "lines",
    "privacy": {"epsilon": 50, "max_document_tokens": 24},
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (column, SMALL | {"column": "said"}),
        (labels, SMALL),
        (lines, PRIVATE),
    ],
)
def test_it_is_of_the_training_that_would_run(
    tmp_path: Path, make: Callable[[Path], Source], options: dict[str, Any]
) -> None:
    source, told = make(tmp_path), Listener()
    wanted = Hyperparameters.parse({**options, "max_steps": 20})
    found = forecast([source], "lstm-tiny", wanted, threads=1)
    train_files(
        [source], folder=tmp_path / "work", preset="lstm-tiny", hyperparameters=wanted, threads=1,
        on_event=told,
    )  # fmt: skip
    assert found.corpus == told.all("corpus")[0]
    assert (found.steps, found.threads) == (told.plan.total_steps, told.plan.threads)
    chosen = {event.message for event in told.events if event.type == "choice"}
    assert {each for each in chosen if each.startswith(("objectives", "tokenizer"))} <= {
        *found.reasons
    }
    header = read_header(tmp_path / "work" / "model.safetensors")
    assert found.parameters == header.parameters


def test_without_validation_there_is_nothing_to_validate(tmp_path: Path) -> None:
    options = small(validation_fraction=0)
    assert forecast([text_file(tmp_path)], "lstm-tiny", options).validating_seconds == 0


def test_a_refusal_comes_back_as_it_was_made(tmp_path: Path) -> None:
    path = text_file(tmp_path, "short").path
    with pytest.raises(InvalidInput, match="at least 32 are") as caught:
        forecast_apart(path, "lstm-tiny", Hyperparameters(), threads=1)
    assert caught.value.code == "corpus_too_small"


@pytest.mark.slow
def test_doctor_says_how_long_it_takes_and_what_overlaps(tmp_path: Path) -> None:
    text = "".join(f"Line {number} of a plain story that goes on.\n" for number in range(300))
    path, valid = text_file(tmp_path, text).path, text_file(tmp_path, text[2000:6000], "v.txt").path
    command = ["doctor", str(path), "--model", "lstm-tiny", "--validation", str(valid)]
    command += ["--set", "max_steps=5", "--set", "hidden_size=16"]
    people = CliRunner().invoke(textgen, command)
    assert people.exit_code == 0, people.output
    assert "A training of lstm-tiny here takes about" in people.output
    assert "100.0% of the validation text stands in the training text too" in people.output
    found = json.loads(CliRunner().invoke(textgen, [*command, "--json"]).output)
    assert found["forecast"]["steps"] == 5
    assert found["forecast"]["corpus"]["overlap"] == 1.0
    assert found["personal_data"] == {}
    without = json.loads(CliRunner().invoke(textgen, [*command, "--json", "--no-measure"]).output)
    assert without["forecast"] is None


def test_doctor_counts_personal_data_and_shows_none(tmp_path: Path) -> None:
    text = "Write to jane.doe@example.org or call +44 20 7946 0958.\n" * 40
    path = text_file(tmp_path, text).path
    found = CliRunner().invoke(textgen, ["doctor", str(path), "--no-measure"])
    assert "email 40, phone 40" in found.output
    assert "jane.doe" not in found.output
    assert "7946" not in found.output
