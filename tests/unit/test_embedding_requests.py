"""Texts as vectors, by the engine: what they are, and that nothing beside them changes them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from tests.random_models import BundleMaker, run, texts
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.engine.kernels.kernel import KernelName
from textgen.errors import InvalidOption
from textgen.options import SamplingOptions

TEXTS = ["a", "abc de", "我是一名程序员", "long " * 60, "x" * 32, "y" * 31, "z" * 33]
WIDTH = 40  # not a multiple of what the engine pads to


@pytest.fixture(scope="module")
def bundle(make_bundle: BundleMaker) -> Bundle:
    return make_bundle(layers=2, hidden=WIDTH, documents=True)


def request(bundle: Bundle, name: str, text: str) -> Request:
    ids = bundle.tokenizer.encode(text)
    return Request(name, ids, SamplingOptions(max_tokens=0), 0, task="embed")


def by_definition(bundle: Bundle, text: str) -> np.ndarray:
    """The mean over an end and the text of both layers' h, one after the other, of length 1."""
    hidden, steps = None, []
    with torch.no_grad():
        for token in [bundle.tokenizer.end_id, *bundle.tokenizer.encode(text).tolist()]:
            _, hidden = bundle.model(torch.tensor([[token]]), hidden)
            steps.append(hidden[0].flatten())
    mean = torch.stack(steps).mean(0).numpy()
    return np.asarray(mean / np.linalg.norm(mean))


@pytest.mark.parametrize("kernel", get_args(KernelName))
def test_a_vector_is_the_mean_of_all_states_and_of_length_1(
    bundle: Bundle, kernel: KernelName
) -> None:
    engine = Engine(bundle, slots=2, kernel=kernel)
    for text in TEXTS:
        engine.submit(request(bundle, text, text))
    found = {delta.id: delta for delta in run(engine)}
    assert set(found) == set(TEXTS)
    for text in TEXTS:
        delta = found[text]
        assert delta.vector is not None
        assert delta.vector.shape == (2 * WIDTH,)
        assert np.linalg.norm(delta.vector) == pytest.approx(1, abs=1e-6)
        assert delta.vector == pytest.approx(by_definition(bundle, text), abs=1e-5)
        assert (delta.text, delta.tokens, delta.finish_reason) == ("", 0, "stop")
        assert delta.prompt_tokens == len(text)


def test_neighbours_change_neither_vectors_nor_texts(bundle: Bundle) -> None:
    alone = {}
    for text in TEXTS:
        engine = Engine(bundle, slots=1)
        engine.submit(request(bundle, text, text))
        (delta,) = run(engine)
        alone[text] = delta.vector
    write = Request("w", bundle.tokenizer.encode("abc de"), SamplingOptions(max_tokens=9), 3)
    engine = Engine(bundle, slots=1)
    engine.submit(write)
    written = texts(run(engine))["w"]

    engine = Engine(bundle, slots=6)
    for text in TEXTS:
        engine.submit(request(bundle, text, text))
    engine.submit(write)
    deltas = run(engine)

    assert texts(deltas)["w"] == written
    for delta in deltas:
        if delta.id != "w":
            assert delta.vector is not None
            assert np.array_equal(delta.vector, alone[delta.id]), delta.id


def test_slots_are_free_after_vectors_and_after_a_stop(bundle: Bundle) -> None:
    engine = Engine(bundle, slots=2)
    engine.submit(request(bundle, "long", "long " * 60))
    engine.submit(request(bundle, "short", "a"))
    engine.step()
    engine.cancel("long")
    engine.submit(request(bundle, "after", "abc"))
    assert [delta.id for delta in run(engine)] == ["after"]
    assert engine.free_slots == 2
    assert not engine.busy


@pytest.mark.parametrize("wrong", [-1, 10**6, 10**30])
def test_ids_that_there_are_not_are_named(bundle: Bundle, wrong: int) -> None:
    engine = Engine(bundle, slots=2)
    ids = np.asarray([1, wrong])
    with pytest.raises(InvalidOption, match=str(wrong)) as caught:
        engine.submit(Request("r", ids, SamplingOptions(max_tokens=0), 0, task="embed"))
    assert caught.value.param == "input"
    assert not engine.busy
