from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.conftest import BundleMaker, drawn_from
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.evaluation.calibration import Calibration, ReliabilityBin, calibrate
from textgen.evaluation.measures import evaluate


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_it_agrees_with_a_loop_over_tokens(make_bundle: BundleMaker, bins: int) -> None:
    model = make_bundle(spread=6.0).model
    ids = np.random.default_rng(0).integers(0, model.vocab_size, 300).astype(np.uint16)
    with torch.no_grad():
        chances = torch.softmax(model(torch.from_numpy(ids[:-1].astype(np.int64))[None])[0][0], -1)
    confidences, likeliest = (each.numpy() for each in chances.max(-1))
    right = likeliest == ids[1:]
    found = calibrate(model, ids, bins=bins, streams=1)
    error = 0.0
    for place, each in enumerate(found.bins):
        low, high = place / bins, (place + 1) / bins
        inside = (confidences > low) & (confidences <= high)
        assert (each.low, each.high) == pytest.approx((low, high))
        assert each.tokens == inside.sum()
        if inside.any():
            assert each.confidence == pytest.approx(confidences[inside].mean(), abs=1e-6)
            assert each.accuracy == pytest.approx(right[inside].mean())
            error += inside.mean() * abs(confidences[inside].mean() - right[inside].mean())
    assert found.expected_error == pytest.approx(error, abs=1e-6)
    assert found.tokens == len(ids) - 1


def test_accuracy_over_all_bins_is_that_of_the_evaluation(make_bundle: BundleMaker) -> None:
    model = make_bundle(spread=6.0).model
    ids = np.random.default_rng(1).integers(0, model.vocab_size, 9000).astype(np.uint16)
    found = calibrate(model, ids)
    right = sum(each.accuracy * each.tokens for each in found.bins)
    assert right / found.tokens == pytest.approx(evaluate(model, ids).accuracy)


def test_text_of_the_model_itself_is_calibrated_and_an_overconfident_one_is_not(
    make_bundle: BundleMaker,
) -> None:
    ids = drawn_from(make_bundle(spread=6.0).model, 3000)
    honest = calibrate(make_bundle(spread=6.0).model, ids, bins=5).expected_error
    assert honest < 0.03
    assert calibrate(make_bundle(spread=30.0).model, ids, bins=5).expected_error > honest + 0.1


def test_the_error_weighs_bins_by_their_tokens() -> None:
    halves = (ReliabilityBin(0, 0.5, 30, 0.4, 0.2), ReliabilityBin(0.5, 1, 10, 0.8, 0.9))
    assert Calibration(halves).expected_error == pytest.approx(0.75 * 0.2 + 0.25 * 0.1)


def test_what_cannot_be_measured_is_refused(make_bundle: BundleMaker) -> None:
    model = make_bundle().model
    with pytest.raises(InvalidCorpus, match="at least 2"):
        calibrate(model, np.zeros(1, np.uint16))
    with pytest.raises(InvalidOption, match="'bins' is 0"):
        calibrate(model, np.zeros(5, np.uint16), bins=0)
