"""Short numbers in matrix products: who may have them, what they cost, and that no bit is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.unit.test_trainer import make_plan, mixture, same, start, weights
from tests.unit.training_files import Listener, outcome, same_weights, small, text_file
from textgen.bundles.bundle import load_bundle
from textgen.errors import InvalidOption, TrainingDiverged
from textgen.numerics import autocast, computes_in, precisions
from textgen.options import ModelOptions, Precision
from textgen.plan import Plan
from textgen.training.run import checkpoints
from textgen.training.step_timing import Way, ways
from textgen.training.train import train_files
from textgen.training.trainer import Trainer, new_model

CPU = torch.device("cpu")
fast_bf16 = pytest.mark.skipif(
    not computes_in(CPU, "bfloat16"), reason="this CPU has no instructions for bf16"
)
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.fixture
def old_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})


@pytest.fixture
def new_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.mark.usefixtures("old_cpu")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_a_cpu_has_no_instructions_for_is_refused(precision: Precision) -> None:
    with pytest.raises(InvalidOption, match=f"'precision' is '{precision}'.*give auto") as error:
        precisions(precision, CPU)
    assert error.value.param == "precision"
    assert precisions("auto", CPU) == precisions(None, CPU) == ("float32",)
    assert precisions("float32", CPU) == ("float32",)


@pytest.mark.usefixtures("new_cpu")
def test_on_a_cpu_auto_measures_both() -> None:
    assert precisions("auto", CPU) == precisions(None, CPU) == ("float32", "bfloat16")
    assert ways(CPU, 2, precisions("auto", CPU)) == (
        Way("onednn", 2), Way("onednn", 1), Way("onednn", 2, "bfloat16"),
        Way("onednn", 1, "bfloat16"), Way("native", 2),
    )  # fmt: skip
    # torch's own loops are hundreds of times slower in bf16, not to be tried even once.
    assert {way.kernel for way in ways(CPU, 2, precisions("bfloat16", CPU))} == {"onednn"}


def trained(plan: Plan, steps: int) -> Trainer:
    trainer = start(plan)
    for _ in range(steps):
        trainer.advance()
    return trainer


@fast_bf16
def test_bf16_learns_nearly_the_same_and_keeps_weights_in_float32() -> None:
    model = ModelOptions(layers=2, hidden_size=64, embedding_size=16, layer_norm=True)
    plan = make_plan(model=model, kernel="onednn")
    exact = trained(plan, 40)
    short = trained(plan.model_copy(update={"precision": "bfloat16"}), 40)
    assert exact.loss != short.loss
    assert short.loss == pytest.approx(exact.loss, abs=0.01)
    assert {value.dtype for value in short.model.state_dict().values()} == {torch.float32}
    assert {value.dtype for value in short.state().values()} == {torch.float32}


# fp16 has no fast way on a CPU, but torch's own loops compute it, so what is done with it shows.
@pytest.mark.parametrize(
    ("precision", "kernel"),
    [("float16", "native"), pytest.param("bfloat16", "onednn", marks=fast_bf16)],
)
def test_going_on_from_a_state_changes_no_bit(precision: str, kernel: str) -> None:
    plan = make_plan(precision=precision, kernel=kernel)
    whole, first = trained(plan, 30), trained(plan, 11)
    second = Trainer(plan, new_model(plan), mixture(plan))
    second.model.load_state_dict(weights(first))
    second.restore(first.step, first.losses, first.state())
    for _ in range(19):
        second.advance()
    assert same(weights(whole), weights(second))
    assert same(whole.state(), second.state())


def test_an_overflow_in_fp16_costs_a_step_and_halves_the_scale() -> None:
    plan = make_plan(precision="float16", kernel="native")
    trainer = trained(plan, 2)
    state = trainer.state()
    state["scaling.scale"] = torch.tensor(2.0**40)
    trainer.restore(2, trainer.losses, state)
    before = weights(trainer)
    trainer.advance()
    assert same(before, weights(trainer))
    assert trainer.state()["scaling.scale"] == 2.0**39
    with torch.no_grad():
        trainer.model.output.bias[0] = torch.nan
    with pytest.raises(TrainingDiverged):
        trainer.advance()


@fast_bf16
def test_a_training_in_bf16_goes_on_bit_for_bit_and_elsewhere_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, asked = Listener(), iter(range(10**9))
    source = text_file(tmp_path)
    wanted = small(precision="bfloat16")

    def train(folder: str, listener: Listener, **options: object) -> Path | None:
        values = {"hyperparameters": wanted, "device": "cpu", "on_event": listener}
        return train_files([source], folder=tmp_path / folder, **{**values, **options})

    path = train("whole", told)
    assert path is not None
    assert told.plan.precision == "bfloat16"
    assert " bfloat16 " in told.plan.numerics
    before, facts = outcome(path)

    assert train("parts", Listener(), plan=told.plan, should_stop=lambda: next(asked) == 23) is None
    resume = checkpoints(tmp_path / "parts" / "checkpoints")[-1]
    path = train("parts", Listener(), resume=resume)
    assert path is not None
    after, same_facts = outcome(path)
    assert same_weights(before, after)
    assert facts == same_facts

    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    again = Listener()
    path = train("elsewhere", again, resume=resume)
    assert path is not None
    (change,) = again.all("numerics_changed")
    assert " float32 " in change["now"]
    assert load_bundle(path).header.plan == told.plan


@on_a_gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_gpu_learns_nearly_the_same(precision: Precision) -> None:
    device = torch.device("cuda")
    if not computes_in(device, precision):
        pytest.skip(f"this GPU does not compute in {precision}")
    losses = []
    for each in ("float32", precision):
        plan = make_plan(device="cuda", precision=each, batch_size=8)
        trainer = Trainer(plan, new_model(plan).to(device), mixture(plan))
        for _ in range(40):
            trainer.advance()
        losses.append(trainer.loss)
    assert losses[0] == pytest.approx(losses[1], abs=0.02)


def test_float32_is_left_alone() -> None:
    with autocast(CPU, "float32"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.float32
    assert "scaling.scale" not in trained(make_plan(), 1).state()
