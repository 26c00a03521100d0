from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.random_models import BundleMaker, drawn_from, run, texts
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.engine.folded import FoldedModel
from textgen.engine.generation import generate
from textgen.engine.kernels import choice
from textgen.engine.kernels.int8_loss import METRIC, int8_loss_difference
from textgen.engine.kernels.library import load
from textgen.engine.kernels.native import NativeKernel
from textgen.engine.kernels.packing import pack_columns, pack_gates
from textgen.errors import InvalidOption
from textgen.options import SamplingOptions

needs_kernel = pytest.mark.skipif(load() is None, reason="no compiler, or no AVX2")


def with_metric(bundle: Bundle, value: float | None) -> Bundle:
    header = bundle.header.model_copy(update={"metrics": {METRIC: value}})
    return Bundle(header, bundle.tokenizer, bundle.model)


@pytest.mark.parametrize("lanes", [8, 16])
def test_bytes_are_within_half_a_step_of_each_weight(lanes: int) -> None:
    weights = torch.randn(64, 4 * 32)
    packed = pack_gates(weights, lanes, "int8")
    assert packed.scales is not None
    assert packed.offsets is not None
    panels = packed.weights.transpose(2, 3).reshape(32 // lanes, 64, 4 * lanes)  # (P, K, width)
    assert torch.equal(packed.offsets, -128 * panels.sum(1, dtype=torch.int32).flatten())
    scales = packed.scales.view(-1, 1, 4 * lanes)
    exact = pack_gates(weights, lanes, "float32").weights
    assert ((panels * scales - exact).abs() <= scales / 2 * 1.001).all()
    assert (panels.abs().amax(1) == 127).all()  # every column uses its whole range


def test_a_column_of_zeros_stays_zero() -> None:
    packed = pack_columns(torch.zeros(32, 5), 8, "int8")
    assert packed.scales is not None
    assert not packed.weights.any()
    assert not packed.scales.any()


@needs_kernel
def test_a_text_by_int8_is_the_same_alone_and_beside_others(make_bundle: BundleMaker) -> None:
    bundle = with_metric(make_bundle(2, 64), 0.0)
    options = SamplingOptions(max_tokens=40)
    prompts = ["", "abc", "我是" * 40, "b"]
    together = generate(bundle, prompts, options, seed=3, weights="int8")
    alone = [generate(bundle, [each], options, seed=3, weights="int8")[0] for each in prompts]
    assert together == alone


@needs_kernel
def test_the_difference_is_that_of_the_two_losses(make_bundle: BundleMaker) -> None:
    model = make_bundle(1, 96, spread=6).model
    with torch.no_grad():
        model.lstm.weight_hh_l0[:, 0] *= 100  # so that there is a difference to speak of
    length, streams = 40, 32
    ids = drawn_from(model, streams * length)
    library = load()
    assert library is not None
    rows = NativeKernel(FoldedModel(model), library, 1, "int8").rows(1)
    losses: dict[str, list[float]] = {"exact": [], "int8": []}
    for begin in range(0, streams * length, length):
        stream = torch.from_numpy(ids[begin : begin + length + 1].astype(np.int64))
        with torch.no_grad():
            logits, _ = model(stream[None, :-1])
        losses["exact"].append(float(functional.cross_entropy(logits[0], stream[1:])))
        rows.set(0, None, 0)
        steps = []
        for token in stream[:-1]:
            rows.state.tokens[0] = token
            steps.append(rows.step(1).clone())
        losses["int8"].append(float(functional.cross_entropy(torch.cat(steps), stream[1:])))
    expected = float(np.mean(losses["int8"]) - np.mean(losses["exact"]))
    assert int8_loss_difference(model, ids) == pytest.approx(expected, abs=1e-5)
    assert abs(expected) > 1e-4


@needs_kernel
def test_short_texts_are_measured_too(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    for length in (2, 3, 63, 65, 129):
        assert int8_loss_difference(bundle.model, drawn_from(bundle.model, length)) is not None
    assert int8_loss_difference(bundle.model, np.array([1], np.uint16)) is None


@needs_kernel
def test_a_model_that_loses_too_much_is_refused(make_bundle: BundleMaker) -> None:
    with pytest.raises(InvalidOption, match=r"0\.0312 nats") as caught:
        Engine(with_metric(make_bundle(), 0.0312), weights="int8")
    assert caught.value.code == "int8_loses_too_much"


@needs_kernel
def test_without_a_measurement_the_engine_measures(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(1, 32)
    assert " int8" in Engine(bundle, weights="int8").numerics
    # One weight that is far larger than its column leaves no steps for the others.
    with torch.no_grad():
        bundle.model.output.weight *= 30
        bundle.model.lstm.weight_hh_l0[:, 0] *= 5000
        bundle.model.output.weight[:, 1] *= 3000
    with pytest.raises(InvalidOption, match="int8"):
        Engine(bundle, weights="int8")


def test_without_a_kernel_int8_is_refused_and_the_engine_still_writes(
    make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "load", lambda: None)
    bundle = with_metric(make_bundle(), 0.0)
    with pytest.raises(InvalidOption, match="compiler"):
        Engine(bundle, weights="int8")
    with pytest.raises(InvalidOption, match="AVX2"):
        Engine(bundle, kernel="native")
    engine = Engine(bundle)
    assert "kernel torch" in engine.numerics
    ids = engine.tokenizer.encode("a")
    engine.submit(Request("x", ids, SamplingOptions(max_tokens=5), seed=0))
    assert len(texts(run(engine))["x"]) == 5
