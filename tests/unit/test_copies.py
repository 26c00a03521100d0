"""No text repeats more of its training text than it may."""

from __future__ import annotations

import codecs
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_models import run, texts
from textgen.bundles.bundle import Bundle, load_bundle
from textgen.corpus.copy_index import CopyIndex, build, passage_hashes, training_texts
from textgen.corpus.sources import Source
from textgen.engine.copy_guard import Copies
from textgen.engine.engine import Engine, Request
from textgen.engine.vocabulary import Vocabulary
from textgen.errors import InvalidOption
from textgen.evaluation.memorisation import CorpusIndex
from textgen.options import Hyperparameters, SamplingOptions
from textgen.tokenizers import BpeTokenizer, ByteTokenizer, CharTokenizer, Tokenizer
from textgen.training.train import train_files

BundleMaker = Callable[..., Bundle]


def hashes_of(text: str, window: int) -> np.ndarray:
    return passage_hashes(np.frombuffer(text.encode("utf-32-le"), "<u4"), window)


@pytest.mark.parametrize("cuts", [[], [1], [5, 6, 300], list(range(0, 2000, 7))])
def test_every_passage_of_the_text_is_found_and_hardly_any_other(cuts: list[int]) -> None:
    generator = random.Random(0)
    text = "".join(generator.choices("abcdefgh 我是", k=20_000))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    index = CopyIndex(17, [build(pieces, 17, len(text))])
    assert index.has(hashes_of(text, 17)).all()
    other = "".join(generator.choices("abcdefgh 我是", k=100_000))
    assert index.has(hashes_of(other, 17)).mean() < 0.002


@pytest.mark.parametrize(
    "tokenizer",
    [CharTokenizer("abc我是 "), ByteTokenizer(), BpeTokenizer([(97, 98), (257, 99)])],
    ids=["char", "byte", "bpe"],
)
def test_the_indexed_text_is_that_of_the_documents_with_breaks_between(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = ["abc 我是", "我", "", "cab ab" * 50]
    monkeypatch.setattr("textgen.corpus.copy_index._CHUNK", 5)
    ids = tokenizer.encode_documents(documents)
    assert "".join(training_texts(tokenizer, ids)).split("\U0010ffff") == [*documents, ""]


PIECES = ["a", "b", "ab", "ba", "abb", "我", "是a", "a我"]
PARTS = [bytes((byte,)) for byte in "我是".encode()]
VOCABULARY = Vocabulary([b"", *(piece.encode() for piece in PIECES), *PARTS], 0)


@settings(max_examples=60)
@given(
    st.text("ab我是", min_size=12, max_size=60),
    st.lists(st.integers(0, 59), max_size=30),
    st.integers(3, 6),
)
def test_banned_are_exactly_the_tokens_that_would_complete_too_long_a_copy(
    corpus: str, choices: list[int], longest: int
) -> None:
    index = CopyIndex(longest + 1, [build([corpus], longest + 1, 4000)])
    guard = Copies(longest, index, VOCABULARY)
    text = b""
    for choice in choices:
        banned = set(guard.banned().tolist())
        allowed = [token for token in range(1, len(VOCABULARY.pieces)) if token not in banned]
        for token in range(1, len(VOCABULARY.pieces)):
            added = whole(text + VOCABULARY.pieces[token])
            places = range(max(len(whole(text)) - longest, 0), len(added) - longest)
            copied = any(added[at : at + longest + 1] in corpus for at in places)
            assert copied == (token in banned)
        if not allowed:
            return
        text += VOCABULARY.pieces[allowed[choice % len(allowed)]]
        guard.push(allowed[choice % len(allowed)])


def whole(text: bytes) -> str:
    """Without a last character that is not complete."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(text)


SENTENCE = "我是一名程序员, and this is what I say again and again."


@pytest.fixture(scope="module", params=["char", "byte", "bpe"])
def parrot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model that has learnt one text by heart, and its index."""
    folder = tmp_path_factory.mktemp("parrot")
    (folder / "text.txt").write_text(CORPUS, encoding="utf-8")
    path = train_files(
        [Source(folder / "text.txt")],
        preset="lstm-tiny",
        hyperparameters=Hyperparameters(
            tokenizer=request.param, max_steps=150, copy_index=16, validation_fraction=0, seed=1
        ),
        folder=folder / "work",
    )
    assert path is not None
    return load_bundle(path)


CORPUS = (SENTENCE + " Nobody else does.\n") * 60


def write(bundle: Bundle, count: int = 6, **options: object) -> list[str]:
    engine = Engine(bundle, slots=16)
    for seed in range(count):
        prompt = engine.tokenizer.encode("我是")
        chosen = SamplingOptions(max_tokens=150, **options)
        engine.submit(Request(str(seed), prompt, chosen, seed=seed))
    return list(texts(run(engine)).values())


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_a_model_that_knows_its_text_by_heart_does_not_repeat_it(
    parrot: Bundle, temperature: float
) -> None:
    index = CorpusIndex([CORPUS])
    free = [
        index.longest_overlap(text).characters for text in write(parrot, temperature=temperature)
    ]
    assert max(free) > 60
    for longest in (16, 25, 40):
        found = write(parrot, temperature=temperature, reject_if_copied_over=longest)
        overlaps = [index.longest_overlap(text).characters for text in found]
        assert max(overlaps) <= longest
        assert max(overlaps) > longest // 2  # it goes on, up to what it may


def test_without_an_index_the_error_says_how_to_have_one(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle())
    options = SamplingOptions(reject_if_copied_over=30)
    with pytest.raises(InvalidOption, match="copy_index=30") as caught:
        engine.submit(Request("a", np.array([3]), options, seed=0))
    assert (caught.value.code, caught.value.param) == ("no_copy_index", "reject_if_copied_over")


def test_shorter_copies_than_the_index_knows_are_refused(parrot: Bundle) -> None:
    with pytest.raises(InvalidOption, match="must be 16 or more"):
        write(parrot, reject_if_copied_over=15)


def test_a_training_that_goes_on_keeps_the_index_of_the_text_before(
    parrot: Bundle, tmp_path: Path
) -> None:
    from textgen.bundles.bundle import save_bundle

    base = tmp_path / "base.safetensors"
    save_bundle(base, parrot.header, parrot.model.state_dict(), parrot.copies)
    (tmp_path / "more.txt").write_text("Something quite different is said here. " * 40)
    options = {"max_steps": 5, "validation_fraction": 0}

    def go_on(**wanted: object) -> Path | None:
        return train_files(
            [Source(tmp_path / "more.txt")],
            hyperparameters=Hyperparameters(**options, **wanted),
            folder=tmp_path / "work",
            base=base,
        )

    path = go_on(copy_index=16)
    assert path is not None
    index = load_bundle(path).copies
    assert index is not None and len(index.filters) == 2
    for text in (CORPUS, "Something quite different is said here. " * 2):
        assert index.has(hashes_of(text, 17)).all()
    with pytest.raises(InvalidOption, match="Give 16"):
        go_on(copy_index=20)
