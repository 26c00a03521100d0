"""Documents in an order of the seed's: all of them, the same on every machine, by any way there."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_files import Listener, outcome, same_weights, small
from textgen.corpus import shuffling
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.corpus.files import CorpusFiles
from textgen.corpus.shuffling import Shuffle, _keys
from textgen.corpus.sources import Source
from textgen.options import Hyperparameters
from textgen.training.train import train_files

FIRST_KEYS = [7905728728188956330, 6685036501382267578]
documents = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=40)


def shuffled(folder: Path, rows: list[list[int]], seed: int, size: int, blocks: int) -> list[int]:
    shuffle = Shuffle(folder / "scratch", seed, size)
    for start in range(0, len(rows), blocks):
        some = rows[start : start + blocks]
        ids = np.array([each for row in some for each in row], np.uint16)
        lengths = np.array([len(row) for row in some])
        more = (ids + 1).astype(np.uint8)
        shuffle.add([(ids, lengths), (more, lengths), (lengths, np.ones_like(lengths))])
    paths = [folder / "ids", folder / "more", folder / "one"]
    with paths[0].open("wb") as first, paths[1].open("wb") as second, paths[2].open("wb") as third:
        shuffle.write([first, second, third], [np.uint16, np.uint8, np.int64])
    ids = np.fromfile(paths[0], np.uint16)
    assert np.fromfile(paths[1], np.uint8).tolist() == (ids + 1).tolist()
    keys = _keys(np.arange(len(rows), dtype=np.uint64), seed).tolist()
    in_order = [len(row) for _, row in sorted(zip(keys, rows, strict=True))]
    assert np.fromfile(paths[2], np.int64).tolist() == in_order
    assert not (folder / "scratch").exists()
    return [int(each) for each in ids]


@settings(deadline=None)
@given(documents, st.integers(0, 3), st.sampled_from([0, 1 << 22, 1 << 26]), st.integers(1, 50))
def test_the_order_is_that_of_the_keys_whatever_the_files(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[int]],
    seed: int,
    size: int,
    blocks: int,
) -> None:
    keys = _keys(np.arange(len(rows), dtype=np.uint64), seed).tolist()
    expected = [each for _, row in sorted(zip(keys, rows, strict=True)) for each in row]
    assert shuffled(tmp_path_factory.mktemp("s"), rows, seed, size, blocks) == expected


def test_keys_are_those_of_every_machine() -> None:
    assert _keys(np.arange(2, dtype=np.uint64), 0).tolist() == FIRST_KEYS
    many = _keys(np.arange(100_000, dtype=np.uint64), 5)
    assert len(set(many.tolist())) == 100_000
    counts = np.bincount((many >> np.uint64(60)).astype(int))
    assert abs(counts - 6250).max() < 400  # five standard deviations


def encode(folder: Path, name: str = "out", **options: object) -> EncodedCorpus:
    path = folder / "rows.jsonl"
    rows = [{"text": f"row {number:04d} of a sorted file"} for number in range(400)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return encode_corpus([Source(path)], Hyperparameters.parse(options), folder / name)


def rows_of(corpus: EncodedCorpus, part: str = "train") -> list[str]:
    ids = corpus.tokens(part)  # type: ignore[arg-type]
    ends = np.flatnonzero(ids == corpus.tokenizer.end_id)
    assert ends[0] == 0
    assert ends[-1] == len(ids) - 1
    pairs = pairwise(ends)
    return [corpus.tokenizer.decode(ids[start:stop]) for start, stop in pairs]


def test_rows_come_in_the_seeds_order_and_all_of_them(tmp_path: Path) -> None:
    plain = encode(tmp_path, shuffle=False)
    in_order = {part: rows_of(plain, part) for part in ("train", "valid")}
    assert in_order["train"] == sorted(in_order["train"])
    first, same, other = (encode(tmp_path, f"{n}", seed=seed) for n, seed in enumerate((0, 0, 1)))
    for part, rows in in_order.items():
        assert sorted(rows_of(first, part)) == rows
        assert rows_of(first, part) == rows_of(same, part) != rows_of(other, part)
    assert first.sha256 == same.sha256
    assert len({plain.sha256, first.sha256, other.sha256}) == 3
    assert [plain.splits[part] for part in ("train", "valid")] == [
        first.splits[part] for part in ("train", "valid")
    ]


def test_many_files_on_disk_give_the_same_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows_of(encode(tmp_path, "whole"))
    monkeypatch.setattr(shuffling, "BUCKET", 100)
    assert rows_of(encode(tmp_path, "cut")) == whole


def test_one_text_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text, and more of it " * 30)
    files = CorpusFiles([Source(tmp_path / "a.txt")], [], [], Hyperparameters(seed=3))
    assert files.digest(None) == CorpusFiles(
        [Source(tmp_path / "a.txt")], [], [], Hyperparameters(shuffle=False)
    ).digest(None)


def test_a_training_that_began_in_the_files_order_goes_on_in_it(tmp_path: Path) -> None:
    """As those do whose checkpoint was written before rows were shuffled."""
    encode(tmp_path)
    sources, options = [Source(tmp_path / "rows.jsonl")], small(max_steps=30)
    before = options.model_copy(update={"shuffle": False})
    first, told, polls = Listener(), Listener(), iter([False] * 11 + [True] * 1000)
    whole = train_files(
        sources, folder=tmp_path / "whole", preset="lstm-tiny", hyperparameters=before, threads=1,
        on_event=first,
    )  # fmt: skip
    stopped = train_files(
        sources, folder=tmp_path / "cut", hyperparameters=before, threads=1, plan=first.plan,
        on_event=told, should_stop=lambda: next(polls),
    )  # fmt: skip
    assert stopped is None
    resumed = train_files(
        sources, folder=tmp_path / "on", hyperparameters=options, threads=1, plan=first.plan,
        resume=Path(told.all("checkpoint")[-1]["path"]),
    )  # fmt: skip
    assert whole is not None
    assert resumed is not None
    assert same_weights(outcome(whole)[0], outcome(resumed)[0])
