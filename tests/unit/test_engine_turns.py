"""Who goes first in the engine, counted in steps, not in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.random_models import BundleMaker, run
from textgen.engine.engine import Engine, Request
from textgen.engine.prompt_reader import CHUNK
from textgen.errors import EngineFull
from textgen.options import SamplingOptions


def submit(engine: Engine, name: str, prompt: int = 1, tokens: int = 10, **options: object) -> None:
    """A request whose prompt, of so many tokens, is like no other's."""
    ids = np.random.default_rng(abs(hash(name))).integers(3, 20, prompt)
    request = Request(name, ids, SamplingOptions(max_tokens=tokens), 1, **options)  # type: ignore[arg-type]
    engine.submit(request)


def steps_to_first_text(engine: Engine, name: str) -> int:
    for step in range(1, 1000):
        if any(delta.id == name for delta in engine.step()):
            return step
    raise AssertionError(f"no text of {name}")


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


def test_a_tenant_that_waits_a_lot_keeps_no_other_out(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=2, queue=10)
    for index in range(10):
        submit(engine, f"a{index}", tenant="a")
    with pytest.raises(EngineFull):
        submit(engine, "a10", tenant="a")

    submit(engine, "b0", tenant="b")

    assert len({delta.id for delta in run(engine)}) == 11
