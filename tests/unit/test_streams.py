import numpy as np
import pytest

from textgen.training.streams import IGNORED, TextStreams


@pytest.mark.parametrize(("size", "batch", "length"), [(1000, 4, 16), (997, 7, 10), (40, 3, 64)])
def test_each_target_is_the_next_input_and_streams_never_break(
    size: int, batch: int, length: int
) -> None:
    tokens = np.random.default_rng(0).integers(0, 50, size).astype(np.uint16)
    streams = TextStreams(tokens, batch, length)
    first = streams.batch(0)
    x, y = first.inputs, first.targets
    assert x.shape == y.shape == (batch, length)
    assert x[:, 1:].equal(y[:, :-1])
    following = streams.batch(1).inputs
    assert following[:, 0].equal(y[:, -1])


def test_one_epoch_has_every_token_as_a_target_once() -> None:
    tokens = np.arange(1200, dtype=np.uint16)
    streams = TextStreams(tokens, 6, 20)
    targets = np.concatenate([streams.batch(step).targets.flatten().numpy() for step in range(10)])
    assert sorted(targets.tolist()) == list(range(1200))


def test_after_an_epoch_each_reader_goes_on_in_the_part_of_the_next() -> None:
    tokens = np.arange(1200, dtype=np.uint16)
    streams = TextStreams(tokens, 6, 20)
    assert streams.batch(10).inputs[0].tolist() == streams.batch(0).inputs[1].tolist()


def test_large_ids_and_late_steps_stay_exact() -> None:
    tokens = np.arange(70_000, 70_500, dtype=np.uint32)
    x = TextStreams(tokens, 1, 8).batch(10**9).inputs
    start = (10**9 * 8) % 500
    assert x[0].tolist() == [70_000 + (start + offset) % 500 for offset in range(8)]


def test_targets_that_do_not_count_are_ignored() -> None:
    tokens = np.arange(100, dtype=np.uint16)
    counted = (tokens % 3 == 0).astype(np.uint8)
    batch = TextStreams(tokens, 4, 10, counted).batch(7)
    following = (batch.inputs + 1) % 100
    assert batch.targets[following % 3 == 0].equal(following[following % 3 == 0])
    assert batch.targets[following % 3 != 0].eq(IGNORED).all()
