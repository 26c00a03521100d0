import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.unit.training_files import TEXT, Listener, outcome, same_weights, small, text_file
from textgen import softmax
from textgen.bundles.bundle import load_bundle
from textgen.bundles.checkpoint import load_checkpoint, save_checkpoint
from textgen.bundles.header import read_header
from textgen.corpus.sources import Source
from textgen.engine.kernels.int8_loss import METRIC
from textgen.engine.kernels.library import load
from textgen.errors import InvalidBundle, InvalidCheckpoint, InvalidOption, TrainingDiverged
from textgen.options import Hyperparameters
from textgen.reading_options import CorpusFormat
from textgen.training.run import checkpoints
from textgen.training.train import train_files
from worker.training.result import trained_tokens

REPO = Path(__file__).resolve().parents[2]


def after(count: int) -> Callable[[], bool]:
    """A ``should_stop`` that says yes when it was asked ``count`` times before."""
    asked = iter(range(10**9))
    return lambda: next(asked) >= count


def train(folder: Path, listener: Listener | None = None, **options: object) -> Path | None:
    values = {
        "preset": "lstm-tiny", "hyperparameters": small(), "device": "cpu", "threads": 1,
        "folder": folder / "work", "on_event": Listener() if listener is None else listener,
    }  # fmt: skip
    return train_files([text_file(folder)], **{**values, **options})


def finished(folder: Path, listener: Listener | None = None, **options: object) -> Path:
    path = train(folder, listener, **options)
    assert path is not None
    return path


def test_it_trains_a_model_that_can_be_loaded_and_tells_how(tmp_path: Path) -> None:
    told = Listener()
    bundle = load_bundle(finished(tmp_path, told))
    kinds = [event.type for event in told.events]
    assert kinds.index("corpus") < kinds.index("plan") < kinds.index("metrics")
    assert kinds[-2:] == ["checkpoint", "metrics"]
    assert bundle.header.plan == told.plan
    end = told.all("progress")[-1]
    assert (end["step"], end["seconds_left"]) == (told.plan.total_steps, 0)
    assert bundle.header.metrics["full_valid_loss"] == told.all("metrics")[-1]["full_valid_loss"]
    assert 0 < bundle.header.metrics["full_valid_loss"] < 3.5
    if load() is not None:  # the kernel, without which there are no int8 weights
        assert abs(bundle.header.metrics[METRIC]) < 0.01
    assert bundle.header.corpus["characters"] == len(TEXT)
    assert bundle.header.training is None
    assert bundle.header.generation_defaults.max_tokens == 400
    assert json.loads(json.dumps([event.as_dict() for event in told.events]))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_stops_at_random_steps_change_no_bit(
    tmp_path: Path, seed: int, sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax, "SAMPLED_CLASSES", 8)
    wanted = small(softmax="sampled" if sampled else "exact")
    told = Listener()
    whole, facts = outcome(finished(tmp_path / "whole", told, hyperparameters=wanted))
    assert (told.plan.sampled_classes > 0) == sampled

    generator = random.Random(seed)
    folder, resume, done = tmp_path / "parts", None, None
    told_in_parts: list[object] = []
    while done is None:
        part = Listener()
        done = train(
            folder,
            part,
            plan=told.plan,
            hyperparameters=wanted,
            resume=resume,
            should_stop=after(generator.randrange(40)),
        )
        told_in_parts += part.measurements()
        if done is None:
            assert part.events[-1].type == "checkpoint" or resume is not None
            resume = checkpoints(folder / "work" / "checkpoints")[-1]
            torch.rand(17)  # other users of the generators must not matter
    parts, facts_in_parts = outcome(done)
    assert same_weights(whole, parts)
    assert facts == facts_in_parts
    assert told_in_parts == told.measurements()


CHILD = """
import json, sys
from pathlib import Path
from tests.unit.training_files import TEXT, small
from textgen.corpus.sources import Source
from textgen.plan import Plan
from textgen.training.run import checkpoints
from textgen.training.train import train_files

folder = Path(sys.argv[1])
plan = Plan.model_validate_json((folder / "plan.json").read_text())
found = checkpoints(folder / "work" / "checkpoints")
train_files(
    [Source(folder / "text.txt")], folder=folder / "work", preset="lstm-tiny", plan=plan,
    hyperparameters=small(max_steps=600), device="cpu", threads=1, checkpoint_seconds=(0.05, 0.05),
    resume=found[-1] if found else None,
)
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_bit(tmp_path: Path) -> None:
    """kill -9 at random moments, then on from the latest checkpoint, again and again."""
    told = Listener()
    options = small(max_steps=600)
    whole, facts = outcome(finished(tmp_path / "whole", told, hyperparameters=options))

    folder = tmp_path / "killed"
    text_file(folder)
    (folder / "plan.json").write_text(told.plan.model_dump_json())
    saved, generator, kills = folder / "work" / "checkpoints", random.Random(), 0
    while True:
        newest = len(checkpoints(saved)) and checkpoints(saved)[-1]
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], cwd=REPO)
        while child.poll() is None and kills < 3:
            if checkpoints(saved) and checkpoints(saved)[-1] != newest:
                time.sleep(generator.uniform(0, 0.15))
                break
            time.sleep(0.01)
        if kills < 3:
            child.send_signal(signal.SIGKILL)
        if child.wait() == 0:
            break
        assert child.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 1
    parts, facts_in_parts = outcome(folder / "work" / "model.safetensors")
    assert same_weights(whole, parts)
    assert facts == facts_in_parts


def test_every_checkpoint_is_a_model_that_can_be_used(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path, told, should_stop=after(35)) is None
    (event,) = told.all("checkpoint")
    assert event["step"] == 35
    bundle = load_bundle(Path(event["path"]))
    assert bundle.header.training is not None
    assert bundle.header.training.step == 35
    assert bundle.model(torch.tensor([[1, 2]]))[0].isfinite().all()


def test_the_last_three_checkpoints_are_kept_until_the_listener_has_returned(
    tmp_path: Path,
) -> None:
    steps: list[int] = []

    class Copier(Listener):
        def __call__(self, event: object) -> None:
            super().__call__(event)
            if event.type == "checkpoint":
                assert Path(event.data["path"]).exists()
                steps.append(event.data["step"])

    finished(tmp_path, Copier(), checkpoint_seconds=(0, 0))
    assert steps == list(range(1, 61))
    left = checkpoints(tmp_path / "work" / "checkpoints")
    assert [path.stem for path in left] == ["step-58", "step-59", "step-60"]


def test_a_new_training_begins_without_the_checkpoints_of_an_earlier_one(tmp_path: Path) -> None:
    saved = tmp_path / "work" / "checkpoints"
    finished(tmp_path, checkpoint_seconds=(0, 0))
    assert [path.stem for path in checkpoints(saved)] == ["step-58", "step-59", "step-60"]
    told = Listener()
    other = small(seed=8, max_steps=50)
    assert train(tmp_path, told, hyperparameters=other, should_stop=after(5)) is None
    assert [str(path) for path in checkpoints(saved)] == [told.all("checkpoint")[-1]["path"]]
    finished(tmp_path, hyperparameters=other, plan=told.plan, resume=checkpoints(saved)[-1])


def test_a_training_that_goes_on_from_an_earlier_step_keeps_what_it_makes(tmp_path: Path) -> None:
    saved, kept, told = tmp_path / "work" / "checkpoints", tmp_path / "kept.safetensors", Listener()
    assert train(tmp_path, told, should_stop=after(5)) is None
    kept.write_bytes(checkpoints(saved)[-1].read_bytes())
    finished(tmp_path, plan=told.plan, resume=kept, checkpoint_seconds=(0, 0))
    again = Listener()
    assert train(tmp_path, again, plan=told.plan, resume=kept, should_stop=after(3)) is None
    assert Path(again.all("checkpoint")[-1]["path"]).exists()


def test_a_full_disk_costs_a_checkpoint_but_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sometimes_full(path: Path, *parts: object) -> None:
        if path.stem in ("step-3", "step-4", "step-20"):
            raise OSError(28, "No space left on device")
        save_checkpoint(path, *parts)

    told = Listener()
    monkeypatch.setattr("textgen.training.run.save_checkpoint", sometimes_full)
    bundle = load_bundle(finished(tmp_path, told, checkpoint_seconds=(0, 0)))
    assert [failed["step"] for failed in told.all("checkpoint_failed")] == [3, 4, 20]
    assert bundle.header.plan == told.plan


def test_a_checkpoint_tells_where_the_best_weights_are_while_they_are_others(
    tmp_path: Path,
) -> None:
    told = Listener()
    letters = "".join(random.Random(0).choices("ab", k=400))
    wanted = small(max_steps=80, learning_rate=0.05)
    path = train_files(
        [text_file(tmp_path, "ab" * 400)],
        validation_sources=[text_file(tmp_path, letters, "other.txt")],
        folder=tmp_path / "work",
        preset="lstm-tiny",
        hyperparameters=wanted,
        device="cpu",
        on_event=told,
    )  # the better it knows the one, the worse it does on the other
    assert path is not None
    last = told.all("checkpoint")[-1]
    best = load_bundle(Path(last["best"]))
    assert same_weights(best, load_bundle(path))
    assert best.header.training is None
    losses = [each["valid_loss"] for each in told.all("metrics") if "valid_loss" in each]
    assert (
        best.header.metrics["valid_loss"] == min(losses) < losses[-2]
    )  # the last is the best again


def test_the_file_of_the_best_weights_tells_their_own_figures(tmp_path: Path) -> None:
    """Also after a training went on from a checkpoint whose own weights are others."""
    letters = "".join(random.Random(0).choices("ab", k=400))

    def part(listener: Listener, **options: object) -> Path | None:
        return train_files(
            [text_file(tmp_path, "ab" * 400)],
            validation_sources=[text_file(tmp_path, letters, "other.txt")],
            folder=tmp_path / "work",
            preset="lstm-tiny",
            hyperparameters=small(max_steps=200, learning_rate=0.005),
            device="cpu",
            on_event=listener,
            **options,
        )

    first, second = Listener(), Listener()
    assert part(first, should_stop=after(70)) is None
    checkpoint = first.all("checkpoint")[-1]
    assert part(second, plan=first.plan, resume=Path(checkpoint["path"])) is not None
    (least,) = [each for each in first.all("metrics") if "valid_loss" in each]
    figures = {name: value for name, value in least.items() if name.startswith("valid_")}
    last = second.all("checkpoint")[-1]
    assert last["step"] == 200
    best = read_header(Path(last["best"])).metrics
    assert len(figures) >= 4 and figures.items() <= best.items()
    assert last["metrics"]["valid_perplexity"] > best["valid_perplexity"]


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path / "a", told, should_stop=after(5)) is None
    resume = Path(told.all("checkpoint")[0]["path"])
    with pytest.raises(InvalidCheckpoint, match="another plan"):
        train(tmp_path / "a", plan=told.plan.model_copy(update={"seed": 8}), resume=resume)
    text_file(tmp_path / "b")
    with pytest.raises(InvalidCheckpoint, match="another text"):
        train_files(
            [text_file(tmp_path / "b", TEXT[:-1])], folder=tmp_path / "b" / "work", resume=resume
        )


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path, told, should_stop=after(25)) is None
    resume = Path(told.all("checkpoint")[0]["path"])
    whole, generator = resume.read_bytes(), random.Random(1)
    for _ in range(20):
        place = generator.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.randrange(8)
        for content in (damaged, whole[:place]):
            resume.write_bytes(content)
            with pytest.raises(InvalidCheckpoint):
                train(tmp_path, plan=told.plan, resume=resume)
    resume.write_bytes(whole)
    assert train(tmp_path, plan=told.plan, resume=resume) is not None
    with pytest.raises(InvalidCheckpoint, match="finished model"):
        load_checkpoint(tmp_path / "work" / "model.safetensors")


def test_other_numerics_are_told_and_no_error(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path, told, should_stop=after(0)) is None
    plan = told.plan.model_copy(update={"numerics": "another machine"})
    again = Listener()
    assert train(tmp_path, again, plan=plan) is not None
    (change,) = again.all("numerics_changed")
    assert change == {"was": "another machine", "now": told.plan.numerics}


def test_a_plan_for_more_threads_than_there_are_goes_on_with_fewer(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path, told, should_stop=after(0)) is None
    numerics = told.plan.numerics.replace("threads 1", "threads 64")
    plan = told.plan.model_copy(update={"threads": 64, "numerics": numerics})
    again = Listener()
    assert train(tmp_path, again, plan=plan, threads=1) is not None
    assert "threads 1 " in again.all("numerics_changed")[0]["now"]


def test_patience_ends_a_training_that_learns_no_more(tmp_path: Path) -> None:
    told = Listener()
    options = small(max_steps=5000, learning_rate=0.05, patience=2, dropout=0)
    bundle = load_bundle(finished(tmp_path, told, hyperparameters=options))
    (stop,) = told.all("stopped_early")
    assert stop["step"] < 5000
    losses = [metrics["valid_loss"] for metrics in told.all("metrics") if "valid_loss" in metrics]
    assert len(losses) >= 4
    # The best weights are kept, not the last.
    assert bundle.header.metrics["full_valid_loss"] == pytest.approx(min(losses[:-1]), abs=1e-6)
    assert losses[-2] > min(losses[:-1])
    # What is told of it is the steps that were done, not those of the plan.
    assert bundle.header.steps == stop["step"]
    assert trained_tokens(bundle.header) == stop["step"] * 4 * 16


@pytest.mark.parametrize("more", [{}, {"privacy": 8, "tokenizer": "byte"}])
def test_patience_needs_something_to_validate_on(tmp_path: Path, more: dict[str, object]) -> None:
    options = Hyperparameters.parse(
        {"validation_fraction": 0, "patience": 2, "max_steps": 3, **more}
    )
    with pytest.raises(InvalidOption, match="validation file or a validation_fraction") as caught:
        train_files(
            [Source(text_file(tmp_path).path, format="lines")], folder=tmp_path / "work",
            hyperparameters=options,
        )  # fmt: skip
    assert caught.value.param == "patience"


def test_the_time_cap_ends_a_training_that_takes_too_long(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path, told, should_stop=after(0)) is None
    plan = told.plan.model_copy(update={"total_steps": 10**6, "max_seconds": 0.4})
    again = Listener()
    bundle = load_bundle(finished(tmp_path, again, plan=plan))
    assert again.all("time_cap")
    assert bundle.header.plan == plan


def test_a_training_that_diverges_says_the_way_out(tmp_path: Path) -> None:
    told = Listener()
    assert train(tmp_path, told, should_stop=after(0)) is None
    # A rate that no option allows, to be sure that it overflows.
    plan = told.plan.model_copy(update={"learning_rate": 1e38})
    with pytest.raises(TrainingDiverged, match="smaller one"):
        train(tmp_path, plan=plan)
    assert not (tmp_path / "work" / "model.safetensors").exists()


def test_without_validation_text_the_last_weights_are_kept(tmp_path: Path) -> None:
    options = small(validation_fraction=0.0)
    bundle = load_bundle(finished(tmp_path, hyperparameters=options))
    last = load_checkpoint(checkpoints(tmp_path / "work" / "checkpoints")[-1])
    assert "full_valid_loss" not in bundle.header.metrics
    assert same_weights(bundle, load_bundle(checkpoints(tmp_path / "work" / "checkpoints")[-1]))
    assert last.best is None


def test_a_test_part_is_measured_once_at_the_end(tmp_path: Path) -> None:
    told = Listener()
    finished(tmp_path, told, hyperparameters=small(test_fraction=0.1))
    measured = [metrics for metrics in told.all("metrics") if "test_loss" in metrics]
    assert measured == told.all("metrics")[-1:]


def test_a_test_file_changes_nothing_but_the_last_measurement(tmp_path: Path) -> None:
    plain, told = finished(tmp_path / "a"), Listener()
    tested = finished(
        tmp_path / "b", told, test_sources=[text_file(tmp_path, "the dog had a hat. " * 9, "t.txt")]
    )
    assert same_weights(load_bundle(plain), load_bundle(tested))
    assert "test_loss" not in load_bundle(plain).header.metrics
    measured = [metrics for metrics in told.all("metrics") if "test_loss" in metrics]
    assert measured == told.all("metrics")[-1:]


class TestContinuing:
    """Training on from a finished model."""

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        return finished(tmp_path / "base")

    def test_it_keeps_tokenizer_and_shape_and_learns_faster(
        self, tmp_path: Path, base: Path
    ) -> None:
        told = Listener()
        wanted = {"max_steps": 30, "batch_size": 4, "sequence_length": 16}
        path = finished(
            tmp_path / "more", told, base=base, hyperparameters=Hyperparameters.parse(wanted)
        )
        before, after_ = load_bundle(base), load_bundle(path)
        assert after_.header.tokenizer == before.header.tokenizer
        assert after_.header.model.hidden_size == 24
        assert after_.header.model.layers == 2
        assert after_.header.base == told.plan.base is not None
        first = told.all("metrics")[0]
        assert first["train_loss"] < before.header.metrics["train_loss"] + 0.3
        assert not same_weights(before, after_)

    @pytest.mark.parametrize(
        ("option", "value"),
        [("tokenizer", "byte"), ("vocab_size", 9), ("layers", 1), ("hidden_size", 32),
         ("embedding_size", 24), ("tie_weights", True)],
    )  # fmt: skip
    def test_another_shape_is_refused(
        self, tmp_path: Path, base: Path, option: str, value: object
    ) -> None:
        with pytest.raises(InvalidOption, match="Leave it out") as error:
            train(tmp_path / "more", base=base, hyperparameters=small(**{option: value}))
        assert error.value.param == option

    def test_unknown_characters_are_reported(self, tmp_path: Path, base: Path) -> None:
        told = Listener()
        train_files(
            [text_file(tmp_path / "new", TEXT + "Ωλ" * 300)],
            folder=tmp_path / "new" / "work", base=base, hyperparameters=small(), on_event=told,
        )  # fmt: skip
        (corpus,) = (event for event in told.events if event.type == "corpus")
        assert corpus.level == "warn"
        assert corpus.data["unknown"] == 600
        assert "600 characters are unknown" in corpus.message

    def test_it_resumes_to_the_same_bits_also_without_the_base_at_hand(
        self, tmp_path: Path, base: Path
    ) -> None:
        told = Listener()
        whole, facts = outcome(finished(tmp_path / "whole", told, base=base))
        folder, part = tmp_path / "parts", Listener()
        assert train(folder, part, base=base, plan=told.plan, should_stop=after(20)) is None
        resume = Path(part.all("checkpoint")[0]["path"])
        parts, facts_in_parts = outcome(finished(folder, resume=resume))
        assert same_weights(whole, parts)
        assert facts == facts_in_parts

    def test_a_file_that_is_no_model_is_refused(self, tmp_path: Path) -> None:
        foreign = tmp_path / "x.safetensors"
        foreign.write_bytes(b"no model at all")
        with pytest.raises(InvalidBundle):
            train(tmp_path, base=foreign)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("lines", None), (None, "lines"), ("lines", "text")],
    ids=["by the source", "by the hyperparameters", "by the source, whatever they say"],
)
def test_documents_are_learnt_with_their_ends(
    tmp_path: Path, said: CorpusFormat | None, wanted: CorpusFormat | None
) -> None:
    lines = "\n".join(f"line {i % 13} of many" for i in range(300))
    source = Source(text_file(tmp_path, lines, "lines.txt").path, format=said)
    path = train_files([source], folder=tmp_path / "work", hyperparameters=small(format=wanted))
    assert path is not None
    assert load_bundle(path).header.documents
