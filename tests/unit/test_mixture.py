from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from textgen.errors import InvalidOption
from textgen.evaluation.tasks import compare_answers, evaluate_tasks, sample_tasks, score_answers
from textgen.model import TextGenerator
from textgen.objectives import OBJECTIVES, Passages, marks_of
from textgen.options import ModelOptions, ObjectiveName
from textgen.plan import Plan
from textgen.tokenizers import CharTokenizer, with_marks
from textgen.training.mixture import Mixture, Part, share_rows
from textgen.training.streams import IGNORED, TextStreams
from textgen.training.tasks import TaskStreams
from textgen.training.trainer import Trainer, new_model

TEXT = "the cat sat. the dog ran! a bird sang. who came? the end was near. " * 40
TOKENIZER = with_marks(CharTokenizer("".join(sorted(set(TEXT)))), marks_of(list(OBJECTIVES)))
TOKENS = TOKENIZER.encode(TEXT)
PASSAGES = Passages(TOKENS, TOKENIZER, documents=False)


def tasks(name: ObjectiveName, rows: int = 3, length: int = 16, seed: int = 0) -> TaskStreams:
    return TaskStreams(OBJECTIVES[name](TOKENIZER), PASSAGES, rows, length, seed)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_rows_go_on_from_step_to_step_and_need_no_step_before(name: ObjectiveName) -> None:
    streams = tasks(name)
    batches = [streams.batch(step) for step in range(40)]
    for first, second in pairwise(batches):
        counted = first.targets[:, -1] != IGNORED
        assert torch.equal(first.targets[counted, -1], second.inputs[counted, 0])
        inner = first.targets[:, :-1] != IGNORED
        assert torch.equal(first.targets[:, :-1][inner], first.inputs[:, 1:][inner])
    late = tasks(name).batch(39)
    assert torch.equal(late.inputs, batches[39].inputs)
    assert torch.equal(late.targets, batches[39].targets)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_exactly_the_answers_count(name: ObjectiveName) -> None:
    streams, answer, end = tasks(name), TOKENIZER.special_ids["answer"], TOKENIZER.end_id
    batches = [streams.batch(step) for step in range(60)]
    inputs = torch.cat([batch.inputs for batch in batches], 1)
    targets = torch.cat([batch.targets for batch in batches], 1)
    some = 0
    for row in range(len(inputs)):
        answering = False
        for token, target in zip(inputs[row].tolist(), targets[row].tolist(), strict=True):
            answering = (answering or token == answer) and token != end
            assert (target != IGNORED) == answering
            some += answering
    assert some > 50


def test_rows_and_seeds_differ() -> None:
    batch = tasks("mask").batch(0)
    assert not torch.equal(batch.inputs[0], batch.inputs[1])
    assert not torch.equal(batch.inputs, tasks("mask", seed=1).batch(0).inputs)


@pytest.mark.parametrize(
    ("rows", "weights", "shares"),
    [
        (16, {"causal": 1.0}, {"causal": 16}),
        (16, {"causal": 3.0, "infill": 1.0}, {"causal": 12, "infill": 4}),
        (4, {"causal": 1000.0, "mask": 1.0, "order": 1.0}, {"causal": 2, "mask": 1, "order": 1}),
        (5, {"causal": 1.0, "mask": 1.0}, None),
    ],
)
def test_rows_are_shared_by_weight(
    rows: int, weights: dict[ObjectiveName, float], shares: dict[str, int] | None
) -> None:
    found = share_rows(rows, weights)
    assert sum(found.values()) == rows
    assert min(found.values()) >= 1
    assert shares is None or found == shares


def test_more_objectives_than_rows_are_refused() -> None:
    with pytest.raises(InvalidOption, match=r"'batch_size' is 1.*at least 2"):
        share_rows(1, {"causal": 1.0, "mask": 1.0})


def plan(weights: dict[str, float]) -> Plan:
    return Plan.parse(
        {
            "preset": "lstm-tiny",
            "model": ModelOptions(layers=1, hidden_size=48, embedding_size=16, layer_norm=True),
            "tokenizer": "char", "vocab_size": TOKENIZER.vocab_size, "objectives": weights,
            "batch_size": 8, "sequence_length": 32, "total_steps": 10_000, "warmup_steps": 10,
            "decay_steps": 0, "learning_rate": 0.01, "weight_decay": 0.0,
            "gradient_clip": 1.0, "seed": 3, "threads": 1, "validate_every": 10, "device": "cpu",
            "numerics": "", "kernel": "onednn",
        }
    )  # fmt: skip


def test_the_loss_is_the_weighted_sum_of_the_objectives_means() -> None:
    wanted = plan({"causal": 1.0, "infill": 3.0})
    parts = [
        Part("causal", 0.25, slice(0, 2), TextStreams(TOKENS, 2, 32)),
        Part("infill", 0.75, slice(2, 8), tasks("infill", 6, 32)),
    ]
    trainer = Trainer(wanted, new_model(wanted), Mixture(parts))
    model, batch = new_model(wanted), Mixture(parts).batch(0)
    logits = model(batch.inputs)[0]
    trainer.advance()
    for part in parts:
        expected = functional.cross_entropy(
            logits[part.rows].flatten(0, 1),
            batch.targets[part.rows].flatten(),
            ignore_index=IGNORED,
        ).item()
        assert trainer.losses[part.name] == pytest.approx(expected, rel=1e-5)
    assert trainer.loss == pytest.approx(
        0.25 * trainer.losses["causal"] + 0.75 * trainer.losses["infill"]
    )


def test_a_step_without_a_target_that_counts_is_no_loss_of_zero() -> None:
    """The mean is over the steps that had targets, also after a stop."""
    wanted = plan({"causal": 1.0, "infill": 3.0})
    seldom = np.zeros(TOKENS.size, np.uint8)
    seldom[TOKENS.size // 4 :: 160] = 1  # for two rows of 32 tokens: in every fifth step
    parts = [
        Part("causal", 0.25, slice(0, 2), TextStreams(TOKENS, 2, 32, seldom)),
        Part("infill", 0.75, slice(2, 8), tasks("infill", 6, 32)),
    ]
    trainer = Trainer(wanted, new_model(wanted), Mixture(parts))
    seen: dict[str, list[float]] = {"causal": [], "infill": []}
    for step in range(30):
        if step == 11:
            going_on = Trainer(wanted, trainer.model, Mixture(parts))
            going_on.restore(step, trainer.losses, trainer.state())
            trainer = going_on
        batch = trainer._mixture.batch(step)
        before = dict(trainer.losses)
        trainer.advance()
        for part in parts:
            if not bool((batch.targets[part.rows] != IGNORED).any()):
                assert trainer.losses.get(part.name) == before.get(part.name)
                continue
            count = len(seen[part.name])
            after, mean = trainer.losses[part.name], before.get(part.name, 0.0)
            seen[part.name].append(after * (count + 1) - mean * count)  # the loss of this step
    assert 5 <= len(seen["causal"]) <= 15
    for name, losses in seen.items():
        assert trainer.losses[name] == pytest.approx(np.mean(losses))
    assert min(seen["causal"]) > 0.1


def test_a_part_whose_targets_are_still_to_come_has_no_loss() -> None:
    wanted = plan({"causal": 1.0, "infill": 3.0})
    nothing = TextStreams(TOKENS, 2, 32, np.zeros(TOKENS.size, np.uint8))
    parts = [
        Part("causal", 0.25, slice(0, 2), nothing),
        Part("infill", 0.75, slice(2, 8), tasks("infill", 6, 32)),
    ]
    trainer = Trainer(wanted, new_model(wanted), Mixture(parts))
    trainer.advance(measure=True)
    metrics = trainer.metrics()
    assert metrics["train_causal_loss"] is None
    assert metrics["train_loss"] == metrics["train_infill_loss"] == trainer.loss > 1


def test_a_step_without_a_target_that_counts_changes_nothing_to_nan() -> None:
    wanted = plan({"causal": 1.0})
    nothing = TextStreams(TOKENS, 8, 32, np.zeros(TOKENS.size, np.uint8))
    trainer = Trainer(
        wanted, new_model(wanted), Mixture([Part("causal", 1.0, slice(0, 8), nothing)])
    )
    trainer.advance(measure=True)
    assert trainer.progress() == {}
    assert trainer.metrics() == {"train_loss": None, "train_mean_token_accuracy": None}
    assert trainer.summary() == "no target has counted so far"
    assert all(bool(value.isfinite().all()) for value in trainer.model.parameters())


@pytest.fixture(scope="module")
def filler() -> TextGenerator:
    """A model that has learnt to fill gaps in a text that it knows by heart."""
    wanted = plan({"infill": 1.0})
    mixture = Mixture([Part("infill", 1.0, slice(0, 8), tasks("infill", 8, 32))])
    trainer = Trainer(wanted, new_model(wanted), mixture)
    for _ in range(900):
        trainer.advance()
    return trainer.model


def test_a_model_learns_to_fill_gaps(filler: TextGenerator) -> None:
    found = sample_tasks(OBJECTIVES["infill"](TOKENIZER), PASSAGES, 100)
    metrics = evaluate_tasks(filler, found)
    untrained = evaluate_tasks(new_model(plan({"infill": 1.0})), found)
    assert metrics.tasks == 100
    assert metrics.loss < 0.6 * untrained.loss
    assert metrics.accuracy > 0.5
    scores = score_answers(filler, found, TOKENIZER.end_id)
    assert (
        scores.f1 > 2 * score_answers(new_model(plan({"infill": 1.0})), found, TOKENIZER.end_id).f1
    )


def test_task_metrics_are_those_of_each_task_alone(filler: TextGenerator) -> None:
    found = sample_tasks(OBJECTIVES["infill"](TOKENIZER), PASSAGES, 20)
    losses, right, tokens = 0.0, 0, 0
    for task in found:
        ids = torch.from_numpy(np.concatenate([task.prompt, task.answer]))
        with torch.no_grad():
            logits = filler.eval()(ids[None, :-1])[0][0, len(task.prompt) - 1 :]
        losses += functional.cross_entropy(logits, ids[len(task.prompt) :], reduction="sum").item()
        right += int((logits.argmax(-1) == ids[len(task.prompt) :]).sum())
        tokens += len(task.answer)
    metrics = evaluate_tasks(filler, found)
    assert metrics.loss == pytest.approx(losses / tokens, rel=1e-5)
    assert metrics.accuracy == right / tokens


@pytest.mark.parametrize(
    ("written", "right", "scores"),
    [
        ([1, 2], [1, 2], (1, 1, 1, 1)),
        ([2, 1], [1, 2], (0, 1, 1, 1)),
        ([1, 1], [1, 2, 1, 1], (0, 1, 0.5, 2 / 3)),
        ([1, 1, 1, 1], [1], (0, 0.25, 1, 0.4)),
        ([], [1], (0, 0, 0, 0)),
        ([3], [1], (0, 0, 0, 0)),
    ],
)
def test_answers_are_compared_as_multisets(
    written: list[int], right: list[int], scores: tuple[float, ...]
) -> None:
    assert compare_answers(written, right) == pytest.approx(scores)
