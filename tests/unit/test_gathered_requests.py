"""Texts of which only the beginning and the end come by themselves, and steps of many tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.random_models import run, texts
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Delta, Engine, Request
from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.library import load
from textgen.engine.kernels.native import NativeKernel
from textgen.engine.plain_draws import PlainDraws
from textgen.engine.randomness import stream_key, uniform
from textgen.engine.rows import Rows
from textgen.engine.sampling import draw_by_inverse
from textgen.options import SamplingOptions
from textgen.tokenizers import ByteTokenizer

BundleMaker = Callable[..., Bundle]
OPTIONS: tuple[dict[str, object], ...] = (
    {"max_tokens": 1},
    {"max_tokens": 333},
    {"max_tokens": 90, "temperature": 0},
    {"max_tokens": 200, "temperature": 0.6},
    {"max_tokens": 70, "top_k": 3},
    {"max_tokens": 80, "stop": ("a",)},
    {"max_tokens": 400, "stop_token_ids": (7,)},
)


def requests(*, gathered: bool, count: int) -> list[Request]:
    prompt = np.array([5, 6, 7])
    return [
        Request(str(index), prompt, SamplingOptions(**options), seed=index, gathered=gathered)
        for index, options in enumerate(OPTIONS[:count])
    ]


@pytest.mark.parametrize("count", [4, len(OPTIONS)])  # some that the kernel draws; all kinds
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("tokenizer", [None, ByteTokenizer()])
def test_gathered_texts_are_those_that_come_step_by_step(
    make_bundle: BundleMaker, tokenizer: ByteTokenizer | None, told: bool, count: int
) -> None:
    chosen = {} if tokenizer is None else {"tokenizer": tokenizer}
    bundle = make_bundle(documents=True, **chosen)
    plain, engine = Engine(bundle, slots=8), Engine(bundle, slots=8)
    for each in requests(gathered=False, count=count):
        plain.submit(each)
    for each in requests(gathered=True, count=count):
        engine.submit(each)

    expected, found, steps = run(plain), list[Delta](), 0
    while engine.busy:
        found += engine.step(0.001)
        steps += 1
        for name in map(str, range(count if told else 0)):
            delta = engine.tell(name)
            found += [] if delta is None else [delta]

    assert texts(found) == texts(expected)
    for deltas in (expected, found):
        assert sum(each.tokens for each in deltas) == sum(each.tokens for each in expected)
    assert ends(found) == ends(expected)
    if not told:
        assert len(found) < len(expected) / 3
    if load() is not None and count == 4:
        assert steps < 200


def ends(deltas: list[Delta]) -> dict[str, str]:
    return {each.id: each.finish_reason for each in deltas if each.finish_reason is not None}


def test_what_is_held_goes_with_a_request_that_is_cancelled(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=2)
    for name in ("a", "b"):
        options = SamplingOptions(max_tokens=1000)
        engine.submit(Request(name, np.array([5]), options, seed=1, gathered=True))
    for _ in range(5):
        engine.step(0.001)
    engine.cancel("a")

    assert engine.tell("a") is None and engine.tell("nobody") is None
    assert engine.tell("b") is not None and engine.tell("b") is None
    assert engine.free_slots == 1


def plain_rows(make_bundle: BundleMaker, count: int) -> tuple[FoldedModel, Rows, PlainDraws]:
    """Rows of the kernel, each with a seed of its own, that it draws by itself."""
    model, library = FoldedModel(make_bundle().model), load()
    assert library is not None
    draws = PlainDraws(count, model.columns)
    draws.rows[:] = True
    draws.keys[:] = [stream_key(seed, 0) for seed in range(count)]
    return model, NativeKernel(model, library, 2).rows(count), draws


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.0])
@pytest.mark.skipif(load() is None, reason="there is no compiler for the engine's kernel")
def test_the_kernel_draws_each_token_as_often_as_its_chance_says(
    make_bundle: BundleMaker, heat: float
) -> None:
    count = 4096
    model, rows, draws = plain_rows(make_bundle, count)
    draws.heat[:] = heat
    assert rows.draw_by(draws)
    found, expected = np.zeros(model.columns), np.zeros(model.columns)
    for _ in range(4):
        found += np.bincount(rows.burst(count, 1, 0.0)[0], minlength=model.columns)
        expected += (rows.state.logits.double() / heat).softmax(1).sum(0).numpy()
    possible = expected > 0
    assert not found[~possible].any()
    surplus = found[possible] - expected[possible]
    freedom = possible.sum() - 1
    assert (surplus**2 / expected[possible]).sum() < freedom + 6 * (2 * freedom) ** 0.5


@pytest.mark.skipif(load() is None, reason="there is no compiler for the engine's kernel")
def test_the_kernel_draws_what_the_sampler_would_draw(make_bundle: BundleMaker) -> None:
    """Save where a number lies within rounding of an edge between two tokens."""
    count = 48
    _, rows, draws = plain_rows(make_bundle, count)
    draws.heat[:] = np.tile(np.array([1, 0.3, 2, 0], np.float32), count // 4)
    draws.drawable[3:5] = False
    assert rows.draw_by(draws)
    agree = []
    for position in range(60):
        found = torch.from_numpy(rows.burst(count, 1, 0.0)[0].copy())
        logits = rows.state.logits.clone()
        logits[:, 3:5] = -torch.inf
        heat = torch.from_numpy(np.where(draws.heat == 0, np.float32(1), draws.heat))[:, None]
        numbers = uniform(draws.keys, np.full(count, position, np.uint64))
        wanted = draw_by_inverse((logits / heat).softmax(1), torch.from_numpy(numbers))
        greedy = torch.from_numpy(draws.heat == 0)
        agree.append(torch.where(greedy, logits.argmax(1), wanted) == found)
        assert bool(agree[-1][greedy].all())
    assert torch.stack(agree).double().mean() > 0.998
    assert (draws.positions == 60).all()
