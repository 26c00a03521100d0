from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.random_models import BundleMaker, drawn_from
from textgen.errors import InvalidOption
from textgen.evaluation.measures import evaluate
from textgen.evaluation.prediction import calibration
from textgen.evaluation.report import Calibration
from textgen.evaluation.token_scores import TokenScores, score_tokens
from textgen.model import TextGenerator
from textgen.tokenizers import Ids


def scores_of(model: TextGenerator, ids: Ids, streams: int = 32) -> TokenScores:
    counted = np.ones(len(ids), np.uint8)
    return score_tokens(model, ids, counted, streams=streams)


def calibrate(model: TextGenerator, ids: Ids, bins: int = 15) -> Calibration:
    return calibration(scores_of(model, ids), bins)


def test_token_scores_agree_with_a_loop_over_tokens(make_bundle: BundleMaker) -> None:
    model = make_bundle(2, spread=6.0).model
    ids = np.random.default_rng(0).integers(0, model.vocab_size, 300).astype(np.uint16)
    counted = (np.arange(300) % 3 > 0).astype(np.uint8)
    found = score_tokens(model, ids, counted, streams=1)
    assert found.places.tolist() == [place for place in range(1, 300) if place % 3 > 0]
    hidden = None
    expected = {}
    with torch.no_grad():
        for place in range(1, 300):
            logits, hidden = model(torch.tensor([[int(ids[place - 1])]]), hidden)
            chances = torch.softmax(logits[0, 0].double(), 0)
            own = chances[int(ids[place])]
            expected[place] = (-own.log().item(), int((chances > own).sum()), chances.max().item())
    for place, nats, rank, confidence in zip(
        found.places, found.nats, found.ranks, found.confidences, strict=True
    ):
        assert nats == pytest.approx(expected[place][0], abs=1e-4)
        assert rank == expected[place][1]
        assert confidence == pytest.approx(expected[place][2], abs=1e-5)


def test_an_undecided_model_is_never_right() -> None:
    model = TextGenerator(7, 4, 8)
    torch.nn.init.zeros_(model.output.weight)
    found = scores_of(model, np.arange(7, dtype=np.uint16))
    assert found.ranks.tolist() == [6] * 6


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_calibration_agrees_with_counting_by_hand(make_bundle: BundleMaker, bins: int) -> None:
    model = make_bundle(spread=6.0).model
    ids = np.random.default_rng(0).integers(0, model.vocab_size, 300).astype(np.uint16)
    with torch.no_grad():
        chances = torch.softmax(model(torch.from_numpy(ids[:-1].astype(np.int64))[None])[0][0], -1)
    confidences, likeliest = (each.numpy() for each in chances.max(-1))
    right = likeliest == ids[1:]
    found = calibration(scores_of(model, ids, streams=1), bins)
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
    assert sum(each.tokens for each in found.bins) == len(ids) - 1


def test_accuracy_over_all_bins_is_that_of_the_evaluation(make_bundle: BundleMaker) -> None:
    model = make_bundle(spread=6.0).model
    ids = np.random.default_rng(1).integers(0, model.vocab_size, 9000).astype(np.uint16)
    found = calibrate(model, ids)
    right = sum(each.accuracy * each.tokens for each in found.bins)
    assert right / (len(ids) - 1) == pytest.approx(evaluate(model, ids).accuracy)


def test_text_of_the_model_itself_is_calibrated_and_an_overconfident_one_is_not(
    make_bundle: BundleMaker,
) -> None:
    ids = drawn_from(make_bundle(spread=6.0).model, 3000)
    honest = calibrate(make_bundle(spread=6.0).model, ids, bins=5).expected_error
    assert honest < 0.03
    assert calibrate(make_bundle(spread=30.0).model, ids, bins=5).expected_error > honest + 0.1


def test_no_bins_are_refused(make_bundle: BundleMaker) -> None:
    with pytest.raises(InvalidOption, match="'bins' is 0"):
        calibrate(make_bundle().model, np.zeros(5, np.uint16), bins=0)
