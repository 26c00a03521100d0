from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.random_models import BundleMaker
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.evaluation import context_length
from textgen.evaluation.context_length import loss_by_context
from textgen.model import TextGenerator


def ids_of(count: int, model: TextGenerator) -> np.ndarray:
    return np.random.default_rng(0).integers(0, model.vocab_size, count).astype(np.uint16)


def by_hand(model: TextGenerator, ids: np.ndarray, longest: int) -> list[list[float]]:
    """Nats by position, each predicted from the tokens of its segment alone, all over again."""
    nats: list[list[float]] = [[] for _ in range(longest)]
    with torch.no_grad():
        for start in range(0, len(ids) - longest, longest):
            for place in range(longest):
                read = torch.from_numpy(ids[start : start + place + 1].astype(np.int64))[None]
                chances = torch.log_softmax(model(read)[0][0, -1].double(), 0)
                nats[place].append(-chances[int(ids[start + place + 1])].item())
    return nats


@pytest.mark.parametrize("count", [17, 32, 33, 100])
def test_each_loss_is_that_of_tokens_with_so_much_context(
    make_bundle: BundleMaker, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_length, "_ROWS", 4)
    monkeypatch.setattr(context_length, "_CHUNK", 5)
    model = make_bundle(2, spread=4.0).model
    ids = ids_of(count, model)
    nats = by_hand(model, ids, 16)
    found = loss_by_context(model, ids, longest=16)
    assert [(each.fewest, each.most) for each in found] == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16)]
    for each in found:
        inside = np.array(nats[each.fewest - 1 : each.most])
        assert each.loss == pytest.approx(inside.mean(), abs=1e-5)
        assert each.tokens == inside.size


def test_all_lengths_together_are_every_token_of_whole_segments(make_bundle: BundleMaker) -> None:
    model = make_bundle().model
    found = loss_by_context(model, ids_of(1000, model), longest=64)
    assert sum(each.tokens for each in found) == 15 * 64
    assert loss_by_context(model, ids_of(2, model), longest=1)[0].tokens == 1


def test_the_model_stays_as_it_was(make_bundle: BundleMaker) -> None:
    model = make_bundle().model.train()
    loss_by_context(model, ids_of(40, model), longest=8)
    assert model.training
    model.eval()


def test_what_cannot_be_measured_is_refused(make_bundle: BundleMaker) -> None:
    model = make_bundle().model
    for longest in (0, -8, 12):
        with pytest.raises(InvalidOption, match=f"'longest' is {longest}"):
            loss_by_context(model, ids_of(100, model), longest=longest)
    with pytest.raises(InvalidCorpus, match="at least 65 tokens"):
        loss_by_context(model, ids_of(64, model), longest=64)
