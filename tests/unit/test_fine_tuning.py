"""Going on from a model: what it was counts too, by its weights and by its text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.unit.training_files import TEXT, Listener, outcome, same_weights, small, text_file
from textgen.bundles.bundle import load_bundle, save_bundle
from textgen.corpus.sources import Source
from textgen.errors import InvalidCheckpoint, InvalidCorpus, InvalidOption
from textgen.options import Hyperparameters
from textgen.plan import Plan
from textgen.training.replay import OldText
from textgen.training.train import train_files

NEW = "Ein Hund kam in die Küche und stahl dem Koch ein Ei. " * 60
TUNED = {
    "max_steps": 40, "batch_size": 8, "sequence_length": 16, "seed": 3,
    "precision": "float32",  # not as measured: two trainings are compared bit by bit
}  # fmt: skip


def tuned(**changes: object) -> Hyperparameters:
    return Hyperparameters.parse({**TUNED, **changes})


def after(count: int) -> Callable[[], bool]:
    asked = iter(range(10**9))
    return lambda: next(asked) >= count


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return text_file(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def base(old: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    options = small(max_steps=300, learning_rate=0.02, dropout=0)
    path = train_files([old], folder=folder, preset="lstm-tiny", hyperparameters=options)
    assert path is not None
    return path


def fine_tune(folder: Path, base: Path, text: str = NEW, **more: object) -> Path | None:
    values = {"hyperparameters": tuned(), "device": "cpu", "on_event": Listener(), **more}
    return train_files([text_file(folder, text)], folder=folder / "work", base=base, **values)


def finished(folder: Path, base: Path, text: str = NEW, **more: object) -> Path:
    path = fine_tune(folder, base, text, **more)
    assert path is not None
    return path


def test_the_weights_to_continue_from_are_kept_where_no_step_does_better(
    tmp_path: Path, base: Path
) -> None:
    told = Listener()
    options = tuned(learning_rate=1.0, max_steps=20)
    path = finished(tmp_path, base, TEXT, hyperparameters=options, on_event=told)
    before, after_ = load_bundle(base), load_bundle(path)
    assert same_weights(before, after_)
    (first,), (said,) = told.all("base"), told.all("no_gain")
    assert first["step"] == 0
    assert said["valid_loss"] == first["valid_loss"]
    metrics = after_.header.metrics
    assert metrics["full_valid_loss"] == pytest.approx(metrics["base_valid_loss"])


def test_a_training_that_helps_says_from_where_it_came(tmp_path: Path, base: Path) -> None:
    told = Listener()
    metrics = load_bundle(finished(tmp_path, base, on_event=told)).header.metrics
    assert not told.all("no_gain")
    assert metrics["valid_loss"] < metrics["base_valid_loss"]


def test_a_training_from_scratch_has_no_base_to_measure(tmp_path: Path) -> None:
    told = Listener()
    train_files(
        [text_file(tmp_path)], folder=tmp_path / "work", preset="lstm-tiny",
        hyperparameters=small(max_steps=5), on_event=told,
    )  # fmt: skip
    assert not told.all("base")


@pytest.mark.parametrize("stops", [(0, 1, 17), (5, 30)])
def test_stops_change_no_bit_also_before_the_first_step(
    tmp_path: Path, base: Path, old: Source, stops: tuple[int, ...]
) -> None:
    told = Listener()
    replay = OldText([old])
    options = tuned(replay_fraction=0.25, dropout=0.1)
    more = {"hyperparameters": options, "replay": replay}
    whole, facts = outcome(finished(tmp_path / "whole", base, on_event=told, **more))
    folder, resume = tmp_path / "parts", None
    for stop in stops:
        part = Listener()
        assert fine_tune(
            folder, base, plan=told.plan, resume=resume, should_stop=after(stop), on_event=part,
            **more,
        ) is None  # fmt: skip
        if saved := part.all("checkpoint"):
            resume = Path(saved[-1]["path"])
    parts, facts_in_parts = outcome(finished(folder, base, plan=told.plan, resume=resume, **more))
    assert same_weights(whole, parts)
    assert facts == facts_in_parts


def test_a_training_with_new_characters_is_resumed_with_its_base(
    tmp_path: Path, base: Path
) -> None:
    told = Listener()
    assert fine_tune(tmp_path, base, should_stop=after(5), on_event=told) is None
    resume = Path(told.all("checkpoint")[-1]["path"])
    again = text_file(tmp_path, NEW)
    with pytest.raises(InvalidCheckpoint, match="give it as 'base'"):
        train_files([again], folder=tmp_path / "work", hyperparameters=tuned(), resume=resume)
    assert fine_tune(tmp_path, base, resume=resume) is not None


def test_an_index_of_copies_goes_on_with_that_of_the_base(tmp_path: Path, old: Source) -> None:
    options = small(max_steps=5, copy_index=16)
    base = train_files([old], folder=tmp_path / "base", hyperparameters=options)
    assert base is not None
    told = Listener()
    more = {"hyperparameters": tuned(copy_index=16)}
    stopped = fine_tune(tmp_path, base, TEXT, should_stop=after(5), on_event=told, **more)
    assert stopped is None
    resume = Path(told.all("checkpoint")[-1]["path"])
    with pytest.raises(InvalidCheckpoint, match="give it as 'base'"):
        train_files(
            [text_file(tmp_path, TEXT)], folder=tmp_path / "work", resume=resume, **more,
        )  # fmt: skip
    copies = load_bundle(finished(tmp_path, base, TEXT, resume=resume, **more)).copies
    assert copies is not None and len(copies.filters) == 2


class TestReplay:
    """Rows of the earlier text among those of the new one."""

    def test_it_keeps_the_old_task_and_reports_it(
        self, tmp_path: Path, base: Path, old: Source
    ) -> None:
        told = Listener()
        options = tuned(max_steps=150, learning_rate=0.01)
        kept = finished(
            tmp_path / "kept", base, hyperparameters=options, replay=OldText([old]), on_event=told
        )
        metrics = load_bundle(kept).header.metrics
        (chosen,) = (c for c in told.all("choice") if c["option"] == "replay_fraction")
        assert told.plan.replay_fraction == chosen["value"]
        assert told.plan.replay == told.all("replay")[0]["sha256"]
        last = told.all("metrics")[-2]
        assert last["train_causal_loss"] > 0
        assert last["train_replay_loss"] > 0
        assert metrics["valid_replay_loss"] is not None
        # Without it the same steps on the new text alone forget.
        alone = finished(tmp_path / "alone", base, hyperparameters=options)
        again = Listener()
        train_files(
            [text_file(tmp_path / "again")], folder=tmp_path / "again" / "work", base=alone,
            hyperparameters=tuned(max_steps=1, learning_rate=1e-9), on_event=again,
        )  # fmt: skip
        forgotten = again.all("base")[0]["valid_loss"]
        assert metrics["valid_replay_loss"] < forgotten - 0.1
        assert metrics["valid_replay_loss"] < metrics["base_valid_replay_loss"] + 0.5

    def test_what_was_held_out_then_is_held_out_again(
        self, tmp_path: Path, base: Path, old: Source
    ) -> None:
        told = Listener()
        replay = OldText([old], options=Hyperparameters(validation_fraction=0.25))
        finished(tmp_path, base, replay=replay, on_event=told)
        (event,) = told.all("replay")
        held_out = event["splits"]["valid"]["characters"]
        assert held_out == len(TEXT) - int(len(TEXT) * 0.75)
        assert len(told.all("corpus")) == 1

    def test_epochs_are_of_the_new_text(self, tmp_path: Path, base: Path, old: Source) -> None:
        told = Listener()
        options = Hyperparameters.parse(
            {"n_epochs": 2, "batch_size": 8, "sequence_length": 16, "replay_fraction": 0.5}
        )
        finished(tmp_path, base, hyperparameters=options, replay=OldText([old]), on_event=told)
        tokens = told.all("corpus")[0]["splits"]["train"]["tokens"]
        assert told.plan.total_steps == -(-2 * tokens // 64)

    def test_a_fraction_without_an_old_text_is_refused(self, tmp_path: Path, base: Path) -> None:
        with pytest.raises(InvalidOption, match="no old text") as error:
            fine_tune(tmp_path, base, hyperparameters=tuned(replay_fraction=0.2))
        assert error.value.param == "replay_fraction"

    def test_rows_that_the_model_never_learnt_are_refused(self, tmp_path: Path, base: Path) -> None:
        row = '{"prompt": "the cat", "completion": "sat on a mat"}\n'
        source = text_file(tmp_path, row * 40, "old.jsonl")
        with pytest.raises(InvalidCorpus, match="never learnt"):
            fine_tune(
                tmp_path,
                base,
                replay=OldText([source], options=Hyperparameters(validation_fraction=0.0)),
            )

    def test_one_row_cannot_be_shared(self, tmp_path: Path, base: Path, old: Source) -> None:
        with pytest.raises(InvalidOption, match="too few rows for 2 parts: causal, replay"):
            fine_tune(tmp_path, base, hyperparameters=tuned(batch_size=1), replay=OldText([old]))

    def test_other_files_at_a_resumption_are_refused(
        self, tmp_path: Path, base: Path, old: Source
    ) -> None:
        told = Listener()
        assert (
            fine_tune(tmp_path, base, replay=OldText([old]), should_stop=after(3), on_event=told)
            is None
        )
        resume = Path(told.all("checkpoint")[0]["path"])
        for replay in (None, OldText([text_file(tmp_path, TEXT[5:], "other.txt")])):
            with pytest.raises(InvalidCheckpoint, match="old text"):
                fine_tune(tmp_path, base, plan=told.plan, resume=resume, replay=replay)

    def test_a_plan_without_an_old_text_keeps_its_digest(self, tmp_path: Path, base: Path) -> None:
        told = Listener()
        assert fine_tune(tmp_path, base, should_stop=after(0), on_event=told) is None
        values = told.plan.model_dump(mode="json")
        before = {name: values[name] for name in values if not name.startswith("replay")}
        assert Plan.parse(before).digest() == told.plan.digest()


class TestOddBases:
    """A base and a text that do not quite fit each other."""

    @pytest.mark.parametrize("length", [80, 400, 1000])
    def test_a_very_short_text(self, tmp_path: Path, base: Path, length: int) -> None:
        told = Listener()
        options = Hyperparameters.parse({"max_steps": 10})
        path = finished(tmp_path, base, NEW[:length], hyperparameters=options, on_event=told)
        metrics = load_bundle(path).header.metrics
        assert metrics["full_valid_loss"] <= metrics["base_valid_loss"] + 1e-6

    def test_too_short_a_text_says_how_long_it_must_be(self, tmp_path: Path, base: Path) -> None:
        with pytest.raises(InvalidCorpus, match="at least 32"):
            fine_tune(tmp_path, base, NEW[:20])

    def test_a_base_without_a_plan(self, tmp_path: Path, base: Path) -> None:
        bundle = load_bundle(base)
        bare = tmp_path / "bare.safetensors"
        header = bundle.header.model_copy(update={"plan": None, "metrics": {}, "corpus": {}})
        save_bundle(bare, header, bundle.model.state_dict())
        metrics = load_bundle(finished(tmp_path, bare)).header.metrics
        assert metrics["valid_loss"] < metrics["base_valid_loss"]

    def test_rows_of_another_kind_get_their_marks(self, tmp_path: Path, base: Path) -> None:
        rows = "".join(
            f'{{"prompt": "the cat {i}", "completion": "sat on {i}"}}\n' for i in range(60)
        )
        source = text_file(tmp_path, rows, "rows.jsonl")
        path = train_files([source], folder=tmp_path / "w", base=base, hyperparameters=tuned())
        assert path is not None
        bundle = load_bundle(path)
        assert bundle.header.rows == "prompts"
        assert "answer" in bundle.tokenizer.special_ids
        # And back from rows to one text: the marks stay, the text is read as one.
        back = load_bundle(finished(tmp_path / "back", path))
        assert back.header.rows == "text"
        assert not back.header.documents
        assert "answer" in back.tokenizer.special_ids

    def test_what_is_no_longer_practised_is_said(self, tmp_path: Path, base: Path) -> None:
        both = tuned(objectives=["causal", "infill"])
        taught = finished(tmp_path / "taught", base, TEXT, hyperparameters=both)
        told = Listener()
        path = finished(tmp_path / "on", taught, TEXT, on_event=told)
        (said,) = (c for c in told.all("choice") if c["option"] == "objectives")
        assert said["value"] == ["causal"]
        assert "infill" in said["reason"]
        assert load_bundle(path).header.objectives == ("causal",)

    def test_characters_of_another_script_are_learnt(self, tmp_path: Path, base: Path) -> None:
        path = finished(tmp_path, base, "天地玄黄宇宙洪荒日月盈昃辰宿列张" * 60)
        bundle = load_bundle(path)
        assert bundle.header.metrics["valid_loss"] < 0.8 * bundle.header.metrics["base_valid_loss"]
        ids = torch.from_numpy(bundle.tokenizer.encode("天地玄黄").astype("int64"))
        assert bundle.tokenizer.decode(ids.numpy()) == "天地玄黄"


class TestChoices:
    """What is chosen for the user, and said."""

    def test_dropout_follows_how_often_the_new_text_is_read(
        self, tmp_path: Path, base: Path
    ) -> None:
        for steps, dropout in ((5, 0.0), (200, 0.18)):
            told = Listener()
            options = tuned(max_steps=steps)
            fine_tune(tmp_path, base, hyperparameters=options, on_event=told, should_stop=after(0))
            said = {c["option"]: c for c in told.all("choice")}
            assert told.plan.model.dropout == said["dropout"]["value"] == pytest.approx(dropout)
            assert told.plan.learning_rate == pytest.approx(said["learning_rate"]["value"])

    def test_what_the_user_fixes_stays_fixed(self, tmp_path: Path, base: Path) -> None:
        told = Listener()
        options = tuned(max_steps=500, dropout=0.0, learning_rate=0.001)
        fine_tune(tmp_path, base, hyperparameters=options, on_event=told, should_stop=after(0))
        assert (told.plan.model.dropout, told.plan.learning_rate) == (0.0, 0.001)
        assert not {"dropout", "learning_rate"} & {c["option"] for c in told.all("choice")}

    def test_the_seed_decides_what_is_dropped(self, tmp_path: Path, base: Path) -> None:
        paths = [
            finished(
                tmp_path / name, base, hyperparameters=tuned(max_steps=3, dropout=0.3, seed=seed)
            )
            for name, seed in (("a", 1), ("b", 1), ("c", 2))
        ]
        first, again, other = map(load_bundle, paths)
        assert same_weights(first, again)
        assert not same_weights(first, other)
