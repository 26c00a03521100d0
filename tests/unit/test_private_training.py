import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_files import (
    TEXT,
    Listener,
    outcome,
    same_weights,
    small,
    text_file,
)
from textgen.bundles.bundle import load_bundle
from textgen.bundles.checkpoint import load_checkpoint
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption
from textgen.evaluation.canaries import exposure
from textgen.evaluation.options import Canary
from textgen.evaluation.scoring import score_rows
from textgen.events import Event
from textgen.options import Hyperparameters
from textgen.training.run import checkpoints
from textgen.training.train import train_files

WORDS = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "to", "man", "who", "had", "hat"]
PRIVATE = {
    "hidden_size": 24, "embedding_size": 8, "max_steps": 20, "seed": 7,
    "privacy": {"epsilon": 8, "max_document_tokens": 40, "documents_per_step": 150},
}  # fmt: skip


def lines(count: int = 600) -> list[str]:
    generator = random.Random(3)
    return [" ".join(generator.choices(WORDS, k=generator.randint(2, 9))) for _ in range(count)]


def line_file(folder: Path, texts: list[str] | None = None, name: str = "lines.txt") -> Source:
    text = "\n".join(lines() if texts is None else texts)
    return Source(text_file(folder, text, name).path, format="lines")


def wanted(**changes: Any) -> Hyperparameters:
    return Hyperparameters.parse({**PRIVATE, **changes})


def train(
    folder: Path, listener: Listener | None = None, source: Source | None = None, **options: Any
) -> Path | None:
    values = {
        "preset": "lstm-tiny", "hyperparameters": wanted(), "folder": folder / "work",
        "on_event": Listener() if listener is None else listener,
    }  # fmt: skip
    given = line_file(folder) if source is None else source
    return train_files([given], **{**values, **options})


class Keeper(Listener):
    """Keeps a copy of the checkpoint of one step."""

    def __init__(self, step: int, copy: Path) -> None:
        super().__init__()
        self.step, self.copy = step, copy

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.type == "checkpoint" and event.data["step"] == self.step:
            shutil.copy(event.data["path"], self.copy)


@pytest.mark.parametrize("step", [0, 11])
def test_a_training_that_goes_on_ends_with_the_same_bits(tmp_path: Path, step: int) -> None:
    told = Keeper(step, tmp_path / "copy.safetensors")
    path = train(tmp_path, told, checkpoint_seconds=(0, 0))
    assert path is not None
    whole, facts = outcome(path)
    again = train(tmp_path / "again", plan=told.plan, resume=told.copy)
    assert again is not None
    parts, facts_in_parts = outcome(again)
    assert same_weights(whole, parts)
    assert facts == facts_in_parts


def test_it_stops_with_a_checkpoint_and_goes_on(tmp_path: Path) -> None:
    told, asked = Listener(), iter(range(100))
    assert train(tmp_path, told, should_stop=lambda: next(asked) >= 5) is None
    assert [each["step"] for each in told.all("checkpoint")] == [0, 5]
    resume = checkpoints(tmp_path / "work" / "checkpoints")[-1]
    assert train(tmp_path, resume=resume) is not None


def test_the_budget_is_told_and_never_exceeded(tmp_path: Path) -> None:
    told = Listener()
    path = train(tmp_path, told)
    assert path is not None
    header = load_bundle(path).header
    spent = [each["epsilon_spent"] for each in told.all("metrics")]
    assert spent == sorted(spent)
    assert 7.8 < spent[-1] <= 8
    assert header.metrics["epsilon_spent"] == spent[-1]
    assert header.metrics["delta"] == pytest.approx(1 / 6000)
    (promise,) = told.all("privacy")
    assert promise["documents"] == 600
    assert promise["noise_multiplier"] == header.plan.privacy.noise_multiplier


def test_nothing_else_of_the_documents_is_told_or_published(tmp_path: Path) -> None:
    told = Listener()
    path = train(tmp_path, told, checkpoint_seconds=(0, 0))
    assert path is not None
    header = load_bundle(path).header
    assert header.corpus == {}
    assert header.tokenizer == {"name": "byte"}
    assert set(header.metrics) == {"epsilon_spent", "delta"}
    assert header.generation_defaults.max_tokens == 400
    assert "loss" not in json.dumps([each.as_dict() for each in told.events])
    newest = load_checkpoint(checkpoints(tmp_path / "work" / "checkpoints")[-1])
    key = bytes(newest.tensors["private.key"].tolist())
    content = path.read_bytes()
    assert key not in content
    assert b"private.key" not in content


def test_documents_that_are_held_out_by_wish_are_measured(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path, told, hyperparameters=wanted(validation_fraction=0.1)) is not None
    assert told.all("metrics")[-1]["full_valid_loss"] > 0
    other = line_file(tmp_path / "valid", lines(40))
    told = Listener()
    assert train(tmp_path / "b", told, validation_sources=[other]) is not None
    assert told.all("privacy")[0]["documents"] == 600
    assert told.all("metrics")[-1]["full_valid_loss"] > 0


def test_a_budget_that_leaves_no_signal_is_refused_and_says_what_does(tmp_path: Path) -> None:
    privacy = {"epsilon": 0.05, "max_document_tokens": 40, "documents_per_step": 150}
    with pytest.raises(InvalidOption, match="hardly anything could be learnt") as error:
        train(tmp_path, hyperparameters=wanted(privacy=privacy, max_steps=200))
    assert error.value.param == "privacy.epsilon"
    assert error.value.code == "budget_too_small"
    possible = float(error.value.message.split("an epsilon of ")[1].split(" ")[0])
    told = Listener()
    privacy["epsilon"] = possible
    train(
        tmp_path, told, hyperparameters=wanted(privacy=privacy, max_steps=200),
        should_stop=lambda: True,
    )  # fmt: skip
    assert told.plan.privacy.noise_multiplier <= 0.05 * 150


def test_a_delta_that_would_give_a_document_away_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="600 documents") as error:
        train(tmp_path, hyperparameters=wanted(privacy={"epsilon": 8, "delta": 0.002}))
    assert error.value.param == "privacy.delta"


def test_one_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="one text"):
        train(tmp_path, source=text_file(tmp_path))


def test_long_documents_are_cut_and_said(tmp_path: Path) -> None:
    told = Listener()
    texts = [*lines(), *["x" * 100] * 3]
    train(tmp_path, told, line_file(tmp_path, texts), should_stop=lambda: True)
    cut = sum(len(each) + 1 > 40 for each in texts)
    assert told.all("privacy")[0]["cut_documents"] == cut >= 3
    (event,) = (each for each in told.events if each.type == "privacy")
    assert f"{cut:,} are longer than 40 tokens" in event.message


@pytest.mark.parametrize("model", ["lstm-auto", "lstm-base"])
def test_the_shape_does_not_depend_on_the_documents(tmp_path: Path, model: str) -> None:
    plans = []
    for number, texts in enumerate((["short"] * 200, ["something that is longer"] * 200)):
        told = Listener()
        privacy = {"epsilon": 50, "documents_per_step": 100, "max_document_tokens": 40}
        options = Hyperparameters.parse({"privacy": privacy, "max_steps": 2, "hidden_size": 32})
        folder = tmp_path / str(number)
        train(
            folder, told, line_file(folder, texts), preset=model, hyperparameters=options,
            should_stop=lambda: True,
        )  # fmt: skip
        plans.append(told.plan)
    assert plans[0] == plans[1]
    assert plans[0].model.dropout == 0


class TestContinuing:
    """Private training of a public model."""

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        path = train_files(
            [text_file(tmp_path / "base")], folder=tmp_path / "base" / "work",
            hyperparameters=small(),
        )  # fmt: skip
        assert path is not None
        return path

    def test_the_vocabulary_stays_the_bases(self, tmp_path: Path, base: Path) -> None:
        assert "z" not in TEXT
        told, source = Listener(), line_file(tmp_path, [f"{line} zoo" for line in lines()])
        options = Hyperparameters.parse({"privacy": PRIVATE["privacy"], "max_steps": 5})
        path = train(tmp_path, told, source, base=base, hyperparameters=options)
        assert path is not None
        before, after = load_bundle(base).header, load_bundle(path).header
        assert after.tokenizer == before.tokenizer
        assert after.base == told.plan.base is not None
        (event,) = (each for each in told.events if each.type == "privacy")
        assert "base model was trained on is not protected" in event.message


@pytest.mark.slow
def test_secrets_in_one_document_each_are_not_learnt(tmp_path: Path) -> None:
    numbers = {"ann": "926", "bob": "417", "cid": "803", "dee": "265", "eve": "691"}
    canaries = [Canary(template=f"{name} has {{}}", secret=n) for name, n in numbers.items()]
    texts = lines(300)
    for place, canary in enumerate(canaries):
        texts[50 * place] = canary.fill(canary.secret)
    plain = {"hidden_size": 64, "max_steps": 900, "batch_size": 16, "dropout": 0.0,
             "tokenizer": "byte", "validation_fraction": 0.0}  # fmt: skip
    privacy = {"epsilon": 8, "documents_per_step": 150, "max_document_tokens": 40}
    private = {"hidden_size": 64, "max_steps": 40, "privacy": privacy}
    means = []
    for number, options in enumerate((plain, private)):
        folder = tmp_path / str(number)
        path = train(
            folder, None, line_file(folder, texts), hyperparameters=Hyperparameters.parse(options)
        )
        assert path is not None
        bundle = load_bundle(path)
        bits = [
            exposure(lambda t, b=bundle: (s.nats for s in score_rows(b, t)), canary).bits
            for canary in canaries
        ]
        means.append(sum(bits) / len(bits))
    assert means[0] > 8  # of 10: nearly each the first guess of a thousand
    # By the definition of epsilon alone it could be much; in fact it is as by chance, whose mean is
    # 1.4 bits; by chance that of five is above 4.5 once in 1,800 times.
    assert means[1] < 4.5
