"""States of prompts that begin alike: kept, bounded, and invisible in the text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.random_models import BundleMaker, run, texts
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.engine.prefix_cache import PrefixCache, prefix_keys
from textgen.engine.prompt_reader import CHUNK
from textgen.options import SamplingOptions

OPTIONS = SamplingOptions(max_tokens=6)
STATE_BYTES = 2 * 2 * 64 * 4  # of the model below


@pytest.fixture(scope="module")
def bundle(make_bundle: BundleMaker) -> Bundle:
    return make_bundle(2, 64)


@pytest.fixture(scope="module")
def without(bundle: Bundle) -> Engine:
    return Engine(bundle, slots=1, prefix_cache_bytes=0)


def complete(engine: Engine, prompts: list[list[int]]) -> list[str]:
    for index, prompt in enumerate(prompts):
        engine.submit(Request(str(index), np.array(prompt, np.int64), OPTIONS, seed=1))
    found = texts(run(engine))
    return [found[str(index)] for index in range(len(prompts))]


def steps_to_write(engine: Engine, names: list[str], prompt: list[int]) -> int:
    """How many steps it takes until all of these requests for one token have ended."""
    for choice, name in enumerate(names):
        options = SamplingOptions(max_tokens=1)
        engine.submit(Request(name, np.array(prompt), options, seed=1, choice=choice))
    steps = 0
    while engine.busy:
        engine.step()
        steps += 1
    return steps


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 70)), min_size=1, max_size=6),
    st.sampled_from([0, STATE_BYTES + 500, 5 * (STATE_BYTES + 500), 10**8]),
    st.integers(1, 3),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_text_depends_on_what_is_kept(
    bundle: Bundle, without: Engine, prompts: list[tuple[int, int]], bound: int, slots: int
) -> None:
    """Prompts of a common beginning and ends of their own, twice in one engine."""
    generator = np.random.default_rng(0)
    common = generator.integers(2, 30, 400).tolist()
    whole = [
        common[:shared] + np.random.default_rng(own).integers(2, 30, own).tolist()
        for shared, own in prompts
    ]
    expected = [complete(without, [prompt])[0] for prompt in whole]
    engine = Engine(bundle, slots=slots, interactive_reserve=0, prefix_cache_bytes=bound)
    assert complete(engine, whole) == expected
    assert complete(engine, whole) == expected


def test_equal_prompts_are_read_once(bundle: Bundle) -> None:
    engine = Engine(bundle, slots=128, prefix_cache_bytes=0)
    prompt = [2 + index % 20 for index in range(20 * CHUNK + 1)]
    assert steps_to_write(engine, [f"{index}" for index in range(128)], prompt) == 20


def test_a_prompt_that_was_read_before_needs_one_step(bundle: Bundle) -> None:
    engine = Engine(bundle, slots=4)
    prompt = [2 + index % 20 for index in range(20 * CHUNK + 5)]
    assert steps_to_write(engine, ["first"], prompt) == 21
    assert steps_to_write(engine, ["again"], prompt) == 1
    longer = [*prompt, *prompt[:30]]  # as a conversation grows
    assert steps_to_write(engine, ["longer"], longer) == 2
    assert steps_to_write(engine, ["another"], [3, *prompt[1:]]) == 21
    # Of one that differs at its end the states on the way help.
    assert steps_to_write(engine, ["early end"], [*prompt[: 10 * CHUNK], 9, 9]) == 3


def test_a_request_that_joins_late_waits_for_the_rest_only(bundle: Bundle) -> None:
    engine = Engine(bundle, slots=4, prefix_cache_bytes=0)
    prompt = [2 + index % 20 for index in range(20 * CHUNK + 1)]
    engine.submit(Request("first", np.array(prompt), OPTIONS, seed=1))
    for _ in range(10):
        engine.step()
    engine.cancel("first")  # what only it had asked for is forgotten
    assert engine.free_slots == 4
    engine.submit(Request("second", np.array(prompt), OPTIONS, seed=1))
    for _ in range(10):
        engine.step()
    engine.submit(Request("third", np.array(prompt), OPTIONS, seed=1))
    engine.step()
    engine.cancel("second")  # the third goes on with what was read for it
    assert [delta.id for _ in range(9) for delta in engine.step()] == ["third"]


def test_the_least_recently_used_state_leaves() -> None:
    cache = PrefixCache(3 * 1000)
    state = torch.zeros(2, 1, 32)  # 256 bytes and the bookkeeping
    keys = prefix_keys(np.arange(6 * CHUNK + 1))
    for key in keys[:4]:
        cache.keep(key, state)
    assert cache.longest(keys)[0] == 4
    cache.longest(keys[:1])
    for key in keys[4:]:
        cache.keep(key, state)
    assert cache.size <= 3000
    assert len(cache) == 4
    assert [cache.longest([key])[0] for key in keys] == [1, 0, 0, 1, 1, 1]


def test_a_state_larger_than_the_bound_is_not_kept() -> None:
    cache = PrefixCache(600)
    cache.keep(b"key", torch.zeros(2, 1, 64))
    assert (len(cache), cache.size) == (0, 0)


def test_keys_depend_on_all_that_was_read_before() -> None:
    context = np.arange(3 * CHUNK)
    changed = context.copy()
    changed[0] += 1
    assert len(prefix_keys(context)) == 2  # the last token is left to the first step
    assert len(prefix_keys(np.arange(3 * CHUNK + 1))) == 3
    variants = [prefix_keys(context), prefix_keys(changed), prefix_keys(context, b"another")]
    assert len({key for keys in variants for key in keys}) == 6
