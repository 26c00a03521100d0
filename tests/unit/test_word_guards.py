from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_models import run, texts
from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Delta, Engine, Request
from textgen.engine.vocabulary import Vocabulary
from textgen.engine.word_guards import AllowedWords, BadWords
from textgen.options import SamplingOptions
from textgen.tokenizers import BpeTokenizer, ByteTokenizer, Tokenizer

BundleMaker = Callable[..., Bundle]
# Pieces of one and several characters, and parts of characters.
PIECES = ["a", "b", "ab", "ba", "abb", "我", "是a", "a我"]
PARTS = [bytes((byte,)) for byte in "我是".encode()]
VOCABULARY = Vocabulary([b"", *(piece.encode() for piece in PIECES), *PARTS, b"\xe6b"], 0)
words = st.lists(st.text("ab我是", min_size=1, max_size=4), min_size=1, max_size=4).map(tuple)
drawn = st.lists(st.integers(1, len(VOCABULARY) - 1), max_size=8)


def written(tokens: list[int]) -> bytes:
    return b"".join(VOCABULARY.pieces[token] for token in tokens)


def begins_words(text: bytes, words: tuple[str, ...]) -> bool:
    """Whether words in a row, the last of which may be cut, make the text."""
    return text == b"" or any(
        word.startswith(text) or (text.startswith(word) and begins_words(text[len(word) :], words))
        for word in (each.encode() for each in words)
    )


@given(words, drawn)
def test_a_bad_word_is_banned_at_the_token_that_would_complete_it(
    words: tuple[str, ...], tokens: list[int]
) -> None:
    guard = BadWords(words, VOCABULARY)
    for count, token in enumerate(tokens):
        before = written(tokens[:count])
        wrong = [
            other
            for other in range(len(VOCABULARY))
            if any(
                (before + VOCABULARY.pieces[other]).find(
                    word.encode(), max(len(before) - len(word.encode()) + 1, 0)
                )
                >= 0
                for word in words
            )
        ]
        assert guard.banned().tolist() == wrong
        guard.push(token)


@given(words, drawn)
def test_of_allowed_words_every_token_begins_or_continues_one(
    words: tuple[str, ...], tokens: list[int]
) -> None:
    guard = AllowedWords(words, VOCABULARY)
    text = b""
    for token in tokens:
        right = [
            other
            for other in range(1, len(VOCABULARY))
            if begins_words(text + VOCABULARY.pieces[other], words)
        ]
        allowed = set(range(len(VOCABULARY))) - set(guard.banned().tolist())
        assert allowed - {0} == set(right)
        if token in right:
            guard.push(token)
            text += VOCABULARY.pieces[token]


def write(bundle: Bundle, count: int = 30, **options: object) -> tuple[list[str], list[Delta]]:
    engine = Engine(bundle, slots=16)
    for seed in range(count):
        prompt = engine.tokenizer.encode("a")
        engine.submit(Request(str(seed), prompt, SamplingOptions(**options), seed=seed))
    deltas = run(engine)
    return list(texts(deltas).values()), [each for each in deltas if each.finish_reason]


@pytest.mark.parametrize(
    "tokenizer",
    [None, ByteTokenizer(), BpeTokenizer([(97, 98), (257, 99)])],
    ids=["char", "byte", "bpe"],
)
def test_texts_have_no_bad_words_and_only_allowed_ones(
    make_bundle: BundleMaker, tokenizer: Tokenizer | None
) -> None:
    bundle = make_bundle(tokenizer=tokenizer)
    found, _ = write(bundle, bad_words=["a", "bc", "我"], max_tokens=60)
    assert not any(word in text for text in found for word in ("a", "bc", "我"))
    said, _ = write(bundle, allowed_words=["abc", "我 "], bad_words="abcabc", max_tokens=60)
    assert all(begins_words(text.strip("\ufffd").encode(), ("abc", "我 ")) for text in said)
    assert not any("abcabc" in text for text in said)
    assert {"abc", "我 "} <= {word for text in said for word in ("abc", "我 ") if word in text}


def test_a_document_made_of_words_ends_behind_one(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(documents=True)
    found, ends = write(bundle, allowed_words=["yes", "no"], max_tokens=200)
    assert {end.finish_reason for end in ends} == {"stop"}
    assert all(text.replace("yes", "").replace("no", "") == "" for text in found)
    assert len(set(found)) > 5
