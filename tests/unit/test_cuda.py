"""What the library promises, on a CUDA GPU; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.random_models import BundleMaker, run, texts
from tests.unit.test_engine import mixed
from tests.unit.training_files import Listener, small, text_file
from textgen.bundles.bundle import Bundle, load_bundle
from textgen.cuda_graphs import CudaRecorder
from textgen.engine.engine import Engine
from textgen.engine.folded import FoldedModel
from textgen.engine.generation import generate
from textgen.engine.kernels.row_measurement import measure_row_plan
from textgen.engine.kernels.torch_rows import TorchRows
from textgen.numerics import computes_in
from textgen.options import Precision, SamplingOptions
from textgen.training.run import checkpoints
from textgen.training.train import train_files

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
DEVICE = torch.device("cuda")
COUNTS = (1, 3, 40, 3, 200, 1, 130, 2)


@pytest.fixture(scope="module")
def bundle(make_bundle: BundleMaker) -> Bundle:
    made = make_bundle(2, 96)
    return Bundle(made.header, made.tokenizer, made.model.to(DEVICE))


@torch.inference_mode()
def test_a_recorded_step_gives_the_bits_of_one_that_is_not(bundle: Bundle) -> None:
    model = FoldedModel(bundle.model)
    plan = measure_row_plan(model)
    plain = TorchRows(model, plan, 200)
    recorded = TorchRows(model, plan, 200, CudaRecorder(DEVICE))
    for number, count in enumerate(COUNTS):
        for rows in (plain, recorded):
            tokens = (torch.arange(count, device=DEVICE) * 7 + number) % model.vocab_size
            rows.state.tokens[:count] = tokens
        assert torch.equal(plain.step(count), recorded.step(count))
        assert torch.equal(plain.state.cell, recorded.state.cell)
    assert recorded.graphs is not None
    assert recorded.graphs.fault is None
    assert len(recorded.graphs) == len({plan.capacity(count) for count in COUNTS})


def test_a_text_is_the_same_alone_and_in_any_batch(bundle: Bundle) -> None:
    single = Engine(bundle, slots=1)
    everyone = mixed(single, 100)
    alone = {}
    for each in everyone:
        single.submit(each)
        alone |= texts(run(single))
    for slots in (3, 64, 100):
        engine = Engine(bundle, slots=slots)
        for each in everyone:
            engine.submit(each)
        assert texts(run(engine)) == alone, slots


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_training_that_was_stopped_goes_on_to_a_model_that_writes(
    tmp_path: Path, precision: Precision
) -> None:
    if not computes_in(DEVICE, precision):
        pytest.skip(f"this GPU does not compute in {precision}")
    told, source, asked = Listener(), text_file(tmp_path), iter(range(10**9))

    def train(folder: str, **options: object) -> Path | None:
        values = {"hyperparameters": small(precision=precision), "device": "cuda"}
        return train_files(
            [source], folder=tmp_path / folder, on_event=told, **{**values, **options}
        )

    whole = train("whole")
    assert whole is not None
    stopped = train("parts", plan=told.plan, should_stop=lambda: next(asked) == 23)
    assert stopped is None
    resume = checkpoints(tmp_path / "parts" / "checkpoints")[-1]
    parts = train("parts", resume=resume)
    assert parts is not None
    # cuDNN does not promise the bits of a gradient.
    one, other = (load_bundle(each).model.state_dict() for each in (whole, parts))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=1e-3, rtol=1e-2)
    trained = load_bundle(parts, device="cuda")
    (written,) = generate(trained, ["a"], SamplingOptions(max_tokens=50, ignore_eos=True), seed=1)
    assert len(written.text) == 50
