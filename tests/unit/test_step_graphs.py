"""Recorded steps, by recorders that keep, spoil or refuse what they are given."""

from __future__ import annotations

import logging

import pytest
import torch

from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.row_plan import RowPlan
from textgen.engine.kernels.step_graphs import Step
from textgen.engine.kernels.torch_rows import TorchRows
from textgen.model import TextGenerator


class Keeping:
    """Warms up and replays, as a GPU's recorder does."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def record(self, step: Step) -> Step:
        self.recorded += 1
        for _ in range(3):
            step()

        def replay() -> None:
            self.replayed += 1
            step()

        return replay


class Spoiling(Keeping):
    """Its second recording takes two steps for one."""

    def record(self, step: Step) -> Step:
        replay = super().record(step)
        return (lambda: (replay(), replay())[0]) if self.recorded == 2 else replay


class Refusing(Keeping):
    """Can record once."""

    def record(self, step: Step) -> Step:
        replay = super().record(step)
        if self.recorded == 2:
            raise RuntimeError("operation not permitted when stream is capturing")
        return replay


@pytest.fixture(scope="module")
def model() -> FoldedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FoldedModel(TextGenerator(33, 12, 40, layers=2))


@torch.inference_mode()
def steps(rows: TorchRows, counts: list[int]) -> list[torch.Tensor]:
    """What comes of steps of so many rows, fed alike; every row's logits, state and cell."""
    found = []
    for number, count in enumerate(counts):
        rows.state.tokens[:count] = (torch.arange(count) * 7 + number) % 33
        logits = rows.step(count).clone()
        found += [logits, rows.state.hidden[:, :count].clone(), rows.state.cell[:, :count].clone()]
    return found


COUNTS = [3, 4, 1, 9, 16, 12, 3, 20, 18, 2]  # of 4, 16, and 16 + 4 rows with the padding
PLAN = RowPlan([4, 16])


def test_each_padded_number_of_rows_is_recorded_once_and_replayed(model: FoldedModel) -> None:
    recorder = Keeping()
    rows = TorchRows(model, PLAN, 20, recorder)
    got, wanted = steps(rows, COUNTS), steps(TorchRows(model, PLAN, 20), COUNTS)
    assert all(map(torch.equal, got, wanted))
    assert rows.graphs is not None
    assert (recorder.recorded, len(rows.graphs)) == (3, 3)
    # A recording is compared by one replay; the steps after the first are replays.
    assert recorder.replayed == len(COUNTS)
    assert rows.graphs.fault is None


@pytest.mark.parametrize(
    ("recorder", "fault"),
    [
        (Spoiling(), "a recorded step of 16 rows gives other bits"),
        (Refusing(), "a step of 16 rows cannot be recorded: operation not permitted when"),
    ],
)
def test_a_recording_that_is_not_right_changes_no_step_and_is_the_last(
    model: FoldedModel, recorder: Keeping, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = TorchRows(model, PLAN, 20, recorder)
    with caplog.at_level(logging.WARNING):
        got = steps(rows, COUNTS)
    assert all(map(torch.equal, got, steps(TorchRows(model, PLAN, 20), COUNTS)))
    assert rows.graphs is not None
    assert rows.graphs.fault is not None
    assert rows.graphs.fault.startswith(fault)
    assert fault in caplog.text
    assert (recorder.recorded, len(rows.graphs)) == (2, 0)
