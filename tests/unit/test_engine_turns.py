"""Who goes first in the engine, counted in steps, not in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.random_models import BundleMaker, run, texts
from textgen.engine.engine import Delta, Engine, Request
from textgen.engine.prompt_reader import CHUNK
from textgen.errors import EngineFull
from textgen.options import SamplingOptions


def submit(engine: Engine, name: str, prompt: int = 1, tokens: int = 10, **options: object) -> None:
    """A request whose prompt, of so many tokens, is like no other's."""
    ids = np.random.default_rng(abs(hash(name))).integers(3, 20, prompt)
    request = Request(name, ids, SamplingOptions(max_tokens=tokens), 1, **options)  # type: ignore[arg-type]
    engine.submit(request)


def steps_to_first_text(engine: Engine, name: str, deltas: list[Delta] | None = None) -> int:
    """Steps until then; what they bring is added to ``deltas``."""
    for step in range(1, 1000):
        found = engine.step()
        if deltas is not None:
            deltas += found
        if any(delta.id == name for delta in found):
            return step
    raise AssertionError(f"no text of {name}")


def ended(deltas: list[Delta]) -> set[str]:
    return {delta.id for delta in deltas if delta.finish_reason is not None}


@pytest.mark.parametrize("prompt", [1, CHUNK // 2, 3 * CHUNK])
@pytest.mark.parametrize("batch_prompt", [1, 5 * CHUNK])
def test_a_batch_delays_an_interactive_request_by_no_step(
    make_bundle: BundleMaker, prompt: int, batch_prompt: int
) -> None:
    """Whether its lines run, wait, or have their long prompts read."""
    bundle = make_bundle()
    alone = Engine(bundle, slots=64)
    submit(alone, "i", prompt)
    expected = steps_to_first_text(alone, "i")

    engine = Engine(bundle, slots=64)
    for index in range(500):
        submit(engine, f"b{index}", batch_prompt, tokens=30, interactive=False)
    for moment in range(6):
        engine.step()
        submit(engine, f"i{moment}", prompt)
        assert steps_to_first_text(engine, f"i{moment}") <= expected


def test_a_tenants_thousand_do_not_delay_anothers_single_request(
    make_bundle: BundleMaker,
) -> None:
    """With every slot taken, the single one gets the next that is free, or the one after."""
    engine = Engine(make_bundle(), slots=4)
    for index in range(1000):
        submit(engine, f"many{index}", tokens=5, tenant="many")
    engine.step()

    submit(engine, "single", tokens=5, tenant="single")

    assert steps_to_first_text(engine, "single") <= 6


def test_long_texts_of_one_tenant_keep_no_other_waiting(make_bundle: BundleMaker) -> None:
    """Who has no slot gets one of another's at once; the text that had it goes on afterwards."""
    bundle = make_bundle()
    alone = Engine(bundle, slots=8)
    submit(alone, "single", tokens=5)
    expected = steps_to_first_text(alone, "single")
    for each in range(8):
        submit(alone, f"long{each}", tokens=2000)
    undisturbed = texts(run(alone))

    engine, deltas = Engine(bundle, slots=8), []
    for each in range(8):
        submit(engine, f"long{each}", tokens=2000, tenant="long", interactive=each % 2 == 0)
    for moment in range(10):
        deltas += engine.step()
        submit(engine, f"single{moment}", tokens=5, tenant="single")
        assert engine.free_slots == 0
        assert steps_to_first_text(engine, f"single{moment}", deltas) <= expected
        while f"single{moment}" not in ended(deltas):
            deltas += engine.step()
        deltas += engine.step()
        assert engine.free_slots == 0  # it was given back
    deltas += run(engine)
    for each in range(8):
        assert texts(deltas)[f"long{each}"] == undisturbed[f"long{each}"]


def test_a_parked_text_can_be_cancelled_and_its_time_counts(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=2)
    for name in ("first", "second"):
        submit(engine, name, tokens=10_000, tenant="long")
    engine.step()
    engine.step()
    submit(engine, "other", tokens=10_000, tenant="other")
    engine.step()
    engine.step()
    written = {delta.id for delta in engine.step()}
    assert written == {"first", "other"}  # the newest made room
    assert engine.take_seconds("second") > 0
    assert engine.take_seconds("second") == 0

    engine.cancel("other")
    assert {delta.id for delta in (*engine.step(), *engine.step())} == {"first", "second"}
    submit(engine, "third", tokens=10_000, tenant="other")
    engine.step()
    engine.cancel("second")  # while it is parked
    engine.cancel("first")
    engine.cancel("third")
    assert not engine.busy and engine.free_slots == 2 and engine.step() == []


def test_nobody_is_parked_for_a_tenant_that_has_a_slot(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=3)
    for name in ("a0", "a1", "b0", "b1"):
        submit(engine, name, tokens=50, tenant=name[0])
    seen = [{delta.id for delta in engine.step()} for _ in range(30)]
    assert set().union(*seen) == {"a0", "a1", "b0"}


def test_a_tenant_that_waits_a_lot_keeps_no_other_out(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=2, queue=10)
    for index in range(10):
        submit(engine, f"a{index}", tenant="a")
    with pytest.raises(EngineFull):
        submit(engine, "a10", tenant="a")

    submit(engine, "b0", tenant="b")

    assert len({delta.id for delta in run(engine)}) == 11
