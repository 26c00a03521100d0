"""What a request has taken of its engine's time."""

from __future__ import annotations

import random

import pytest

from tests.random_models import BundleMaker
from textgen.engine.engine import Engine
from textgen.engine.requests import Request
from textgen.engine.time_share import TimeShare
from textgen.options import SamplingOptions


def test_a_step_is_shared_evenly_among_those_that_hold_a_slot() -> None:
    share = TimeShare()
    share.enter("a")
    share.advance(1.0)
    share.enter("b")
    share.advance(2.0)
    assert (share.take("a"), share.take("a")) == (2.0, 0.0)
    share.leave("a")
    share.advance(2.0)  # the step in which it ended is shared with it
    share.advance(4.0)

    assert (share.take("a"), share.take("b")) == (1.0, 6.0)
    assert share.take("a") == share.take("nobody") == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_no_time_is_lost_or_counted_twice(seed: int) -> None:
    chance = random.Random(seed)
    share = TimeShare()
    holding: set[str] = set()
    total = taken = 0.0
    for number in range(300):
        if chance.random() < 0.5:
            share.enter(f"r{number}")
            holding.add(f"r{number}")
        leaving = {name for name in holding if chance.random() < 0.2}
        for name in leaving:
            share.leave(name)
        total += bool(holding)
        share.advance(1.0)
        taken += sum(share.take(name) for name in leaving)
        holding -= leaving
        taken += sum(share.take(name) for name in holding if chance.random() < 0.3)
    taken += sum(share.take(name) for name in holding)

    assert taken == pytest.approx(total)


def test_an_engine_says_what_each_request_took(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=4)
    prompt = engine.tokenizer.encode("to be")
    for name, tokens in (("short", 3), ("long", 40), ("gone", 40)):
        options = SamplingOptions(max_tokens=tokens, ignore_eos=True)
        engine.submit(Request(name, prompt, options, seed=1))
    engine.step()
    engine.step()
    engine.cancel("gone")
    while engine.busy:
        engine.step()

    taken = [engine.take_seconds(name) for name in ("short", "long", "gone")]

    assert 0 < taken[0] < taken[1] < 60
    assert taken[2] == 0
    assert engine.take_seconds("long") == 0
