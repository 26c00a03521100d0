"""The licence of a model: kept from its training on, and inherited."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training_files import Listener, outcome, small, text_file
from textgen.errors import InvalidOption
from textgen.options import Hyperparameters
from textgen.training.train import train_files
from worker.training.result import describe


def trained(folder: Path, told: Listener, base: Path | None = None, **options: object) -> Path:
    shape = small(max_steps=2) if base is None else Hyperparameters(max_steps=2, seed=1)
    path = train_files(
        [text_file(folder)],
        folder=folder / "work",
        preset="lstm-tiny",
        hyperparameters=shape.model_copy(update=options),
        base=base,
        on_event=told,
    )
    assert path is not None
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("base"), Listener(), licence="CC-BY-4.0")


def test_the_model_and_its_checkpoints_have_it(base: Path) -> None:
    bundle, _ = outcome(base)
    assert bundle.header.licence == "CC-BY-4.0"
    assert describe(bundle.header)["licence"] == "CC-BY-4.0"
    (checkpoint,) = (base.parent / "checkpoints").iterdir()
    assert outcome(checkpoint)[0].header.licence == "CC-BY-4.0"


def test_a_training_that_goes_on_inherits_it_and_says_so(base: Path, tmp_path: Path) -> None:
    told = Listener()
    bundle, _ = outcome(trained(tmp_path, told, base))
    assert bundle.header.licence == "CC-BY-4.0"
    (said,) = (each for each in told.all("choice") if each["option"] == "licence")
    assert said["value"] == "CC-BY-4.0"


def test_another_licence_than_the_old_one_is_a_warning(base: Path, tmp_path: Path) -> None:
    told = Listener()
    bundle, _ = outcome(trained(tmp_path, told, base, licence="For our own use."))
    assert bundle.header.licence == "For our own use."
    assert told.all("licence") == [{"was": "CC-BY-4.0", "now": "For our own use."}]


@pytest.mark.parametrize("licence", ["", "two\nlines", "x" * 1001])
def test_it_is_one_line_of_bounded_length(licence: str) -> None:
    with pytest.raises(InvalidOption, match="'licence'"):
        Hyperparameters.parse({"licence": licence})


def test_who_spells_it_otherwise_is_told() -> None:
    with pytest.raises(InvalidOption, match="Did you mean 'licence'"):
        Hyperparameters.parse({"license": "MIT"})
