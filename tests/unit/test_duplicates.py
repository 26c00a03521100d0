"""Copies of documents, exact and near, against brute force; passages that texts share."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.duplicates import Deduplicator, Duplicates, SimilarDocuments, minhashes
from textgen.corpus.encode import encode_corpus
from textgen.corpus.passages import (
    DistinctSample,
    Sample,
    Windows,
    distinct,
    repeated,
    shared,
    window_hashes,
)
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption
from textgen.events import Event
from textgen.options import Hyperparameters

short_texts = st.text(alphabet="abc我 ", max_size=40)


def shingles(text: str) -> set[str]:
    text = text.ljust(5, "\0")
    return {text[at : at + 5] for at in range(len(text) - 4)}


def similarity(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def words(count: int, seed: int) -> list[str]:
    chosen = random.Random(seed)
    return [f"word{chosen.randrange(3000)}" for _ in range(count)]


@given(st.lists(short_texts, min_size=1, max_size=12))
def test_equal_minima_are_equal_sets_of_shingles(texts: list[str]) -> None:
    minima = minhashes(texts)
    for i, one in enumerate(texts):
        assert (minima[i] == minhashes([one])[0]).all()  # alone as among others
        for j, other in enumerate(texts):
            same = bool((minima[i] == minima[j]).all())
            assert same or shingles(one) != shingles(other)


def test_the_share_of_equal_minima_is_the_similarity() -> None:
    base = words(200, 0)
    for changed in (2, 10, 40, 100):
        other = [*base[: 200 - changed], *words(changed, changed)]
        pair = [" ".join(base), " ".join(other)]
        estimate = float((np.diff(minhashes(pair), axis=0) == 0).mean())
        assert abs(estimate - similarity(*pair)) < 0.15  # 128 hashes: 3.4 standard deviations


def test_near_copies_are_found_and_no_others() -> None:
    texts = [" ".join(words(60, seed)) for seed in range(50)]
    near = [text + " and a little more" for text in texts]
    far = [" ".join([*text.split()[:30], *words(30, 1000 + n)]) for n, text in enumerate(texts)]
    found = SimilarDocuments(1000)
    assert found.find(texts) == [False] * 50
    assert found.find(near) == [similarity(a, b) > 0.8 for a, b in zip(texts, near, strict=True)]
    assert sum(found.find(far)) == 0


def test_blocks_do_not_matter() -> None:
    texts = [" ".join(words(8, seed % 30)) for seed in range(90)]
    whole, apart = Duplicates(near=True), Duplicates(near=True)
    once = whole.find(texts)
    assert [each for text in texts for each in apart.find([text])] == once
    assert (whole.copies, whole.near) == (apart.copies, apart.near) == (60, 0)


def test_only_the_latest_are_remembered() -> None:
    texts = [" ".join(words(30, seed)) for seed in range(20)]
    found = SimilarDocuments(10)
    found.find(texts)
    assert found.find([texts[-1], texts[0]]) == [True, False]


@settings(deadline=None)  # each makes tables of many megabytes
@given(st.lists(st.text(max_size=3), max_size=30), st.sampled_from(["exact", "near"]))
def test_the_first_of_equal_documents_stays_in_every_reading(texts: list[str], how: str) -> None:
    deduplicator = Deduplicator(how)  # type: ignore[arg-type]
    first = list(deduplicator.kept(texts))
    if how == "exact":
        assert first == list(dict.fromkeys(texts))
    assert list(deduplicator.kept(texts)) == first
    assert len(first) + deduplicator.found.copies + deduplicator.found.near == len(texts)


@given(st.binary(max_size=60), st.integers(1, 8))
def test_windows_are_known_by_their_bytes(data: bytes, size: int) -> None:
    data = data.replace(b"\xff", b"")
    hashes = window_hashes(data, size)
    windows = [data[at : at + size] for at in range(len(data) - size + 1)]
    assert len(hashes) == len(windows)
    assert len(set(hashes.tolist())) == len(set(windows)) == distinct(hashes).size
    by_window = dict(zip(windows, hashes.tolist(), strict=True))
    assert [by_window[window] for window in windows] == hashes.tolist()


@given(st.lists(st.text(min_size=1, max_size=9), max_size=8))
def test_pieces_of_a_text_make_the_windows_of_the_whole(pieces: list[str]) -> None:
    windows = Windows(4, documents=False)
    found = [each for piece in pieces for each in windows.add([piece]).tolist()]
    assert found == window_hashes("".join(pieces).encode(), 4).tolist()


@given(st.lists(st.text(max_size=9), max_size=8))
def test_no_window_joins_two_documents(texts: list[str]) -> None:
    together = Windows(4, documents=True).add(texts).tolist()
    apart = [h for text in texts for h in Windows(4, documents=True).add([text]).tolist()]
    assert sorted(together) == sorted(apart)


def brute_share(training: bytes, held_out: bytes, size: int) -> float:
    known = {training[at : at + size] for at in range(len(training) - size + 1)}
    windows = [held_out[at : at + size] for at in range(len(held_out) - size + 1)]
    return sum(window in known for window in windows) / len(windows)


def test_the_share_is_exact_while_all_fit_and_near_it_by_samples() -> None:
    training = " ".join(words(8000, 1)).encode()
    held_out = training[20_000:30_000] + " ".join(words(1500, 2)).encode()
    expected = brute_share(training, held_out, 32)
    for kept, tolerance in ((1 << 20, 1e-12), (4000, 0.08)):
        a, b = DistinctSample(kept), Sample(kept)
        a.add(window_hashes(training, 32))
        b.add(window_hashes(held_out, 32))
        found = shared(b, a)
        assert found is not None
        assert abs(found - expected) <= tolerance
    assert (a.zeros, b.zeros) != (0, 0)
    assert a.hashes().size <= 4000


def test_repeats_are_the_share_of_passages_that_came_before() -> None:
    text = " ".join(words(3000, 1)).encode()
    sample = Sample()
    sample.add(window_hashes(text + text, 100))
    assert repeated(sample) == pytest.approx(0.5, abs=0.01)
    assert repeated(Sample()) is None


def encode(folder: Path, rows: list[str], told: list[Event], **options: object) -> EncodedCorpus:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return encode_corpus(
        [Source(path)], Hyperparameters.parse(options), folder / "out", on_event=told.append
    )


def test_a_corpus_without_its_copies(tmp_path: Path) -> None:
    rows = [" ".join(words(40, seed)) for seed in range(60)]
    told: list[Event] = []
    full = encode(tmp_path, [*rows, *rows], told)
    assert not [event for event in told if event.type == "duplicates"]
    exact = encode(tmp_path, [*rows, *rows[:20]], told, deduplicate="exact")
    assert told[-2].type == "duplicates"
    assert told[-2].data == {"copies": 20, "near": 0}
    near = encode(tmp_path, [*rows, *(row + "!" for row in rows)], told, deduplicate="near")
    assert near.facts.left_out == {"copies": 0, "near": 60}
    assert sum(part.documents for part in full.splits.values()) == 120
    for corpus in (exact, near):
        assert sum(part.documents for part in corpus.splits.values()) == 60
    assert len({full.sha256, exact.sha256, near.sha256}) == 3


def test_one_text_has_no_rows_to_leave_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text " * 90)
    with pytest.raises(InvalidOption, match="'lines'") as caught:
        encode_corpus(
            [Source(tmp_path / "a.txt")], Hyperparameters(deduplicate="near"), tmp_path / "out"
        )
    assert caught.value.param == "deduplicate"


@pytest.mark.parametrize("copied", [0, 30])
def test_validation_rows_that_stand_in_training_are_told(tmp_path: Path, copied: int) -> None:
    rows = [" ".join(words(40, seed)) for seed in range(90)]
    valid = [*rows[:copied], *(" ".join(words(40, 500 + seed)) for seed in range(60 - copied))]
    for name, some in (("train", rows), ("valid", valid)):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": row}) + "\n" for row in some)
        )
    told: list[Event] = []
    corpus = encode_corpus(
        [Source(tmp_path / "train.jsonl")],
        Hyperparameters(),
        tmp_path / "out",
        validation_sources=[Source(tmp_path / "valid.jsonl")],
        on_event=told.append,
    )
    overlap = corpus.facts.overlap
    assert overlap is not None
    assert abs(overlap - copied / 60) < 0.02
    warned = [event for event in told if event.type == "overlap"]
    assert [event.level for event in warned] == (["warn"] if copied else [])
    found: list[Event] = []
    again = encode_corpus(
        [Source(tmp_path / "train.jsonl")],
        Hyperparameters(),
        tmp_path / "out",
        validation_sources=[Source(tmp_path / "valid.jsonl")],
        on_event=found.append,
    )
    assert again.facts == corpus.facts
    assert [event for event in found if event.type == "overlap"] == warned
