import numpy as np
import pytest
import torch

from textgen.training.streams import IGNORED, Beginnings, TextStreams


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


END = 0


def documents(lengths: list[int]) -> np.ndarray:
    """Texts of 1, 2, 3, … up to their lengths, an end after each."""
    return np.concatenate([[*range(1, length + 1), END] for length in lengths]).astype(np.uint16)


def test_some_rows_begin_a_document_with_nothing_before_it() -> None:
    tokens = documents([3, 9, 30, 5, 14] * 40)
    plain = TextStreams(tokens, 8, 16)
    streams = TextStreams(tokens, 8, 16, beginnings=Beginnings(END, 0.25, seed=1))
    begun = moved = 0
    before = np.zeros(8, bool)
    for step in range(60):
        batch, unmoved = streams.batch(step), plain.batch(step)
        assert batch.fresh is not None
        now = batch.fresh.numpy() & (batch.inputs[:, 0] == END).numpy()
        for row in range(8):
            if not batch.fresh[row]:
                assert batch.inputs[row].equal(unmoved.inputs[row])
            elif before[row] and batch.inputs[row].equal(unmoved.inputs[row]):
                moved += 1  # back where it would have been, and the state is none of that place
            else:
                assert batch.inputs[row, 0] == END
                begun += 1
        before = now
        assert batch.inputs[:, 1:].equal(batch.targets[:, :-1])
        again = streams.batch(step)
        assert again.inputs.equal(batch.inputs)
        assert again.fresh is not None and again.fresh.equal(batch.fresh)
    assert 60 * 8 * 0.1 < begun < 60 * 8 * 0.3
    assert moved > begun / 2


def test_no_row_begins_with_an_answer_whose_question_is_missing() -> None:
    user, assistant = 90, 91
    turns = [user, 1, 2, END, assistant, 3, 4, 5, END] * 200
    tokens = np.array(turns, np.uint16)
    begun = []
    for reply_id in (None, assistant):
        streams = TextStreams(tokens, 8, 16, beginnings=Beginnings(END, 0.3, 1, reply_id))
        firsts, before = set(), torch.zeros(8, dtype=torch.bool)
        for step in range(40):
            batch = streams.batch(step)
            assert batch.fresh is not None
            # A row that was put somewhere the step before goes on where it would have been.
            firsts |= set(batch.inputs[batch.fresh & ~before][:, :2].flatten().tolist())
            before = batch.fresh
        begun.append(firsts)
    assert begun == [{END, user, assistant}, {END, user}]


def test_inside_a_long_document_every_reader_goes_on() -> None:
    tokens = documents([500])[:-1]
    streams = TextStreams(tokens, 2, 16, beginnings=Beginnings(END, 1.0, seed=1))
    assert not any(streams.batch(step).fresh.any() for step in range(20))  # type: ignore[union-attr]
