"""The text of an answer as it is streamed, token by token, under every kind of tokenizer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_stopping import naive
from textgen.engine.requests import Answer, Delta, Request
from textgen.options import SamplingOptions
from textgen.tokenizers import BpeTokenizer, ByteTokenizer, CharTokenizer, Tokenizer

ALPHABET = "ab我是😀é\n"
MOST = 1000
TOKENIZERS: list[Tokenizer] = [
    CharTokenizer(ALPHABET),
    ByteTokenizer(),
    # Pieces that begin and end within characters: 我 with half of 是, the second half of 😀.
    BpeTokenizer([(97, 98), (0xE6, 0x88), (258, 0x91), (259, 0xE6), (0x98, 0x80), (0xF0, 0x9F)]),
]


def stream(
    tokenizer: Tokenizer, tokens: list[int], blocked: tuple[str, ...] = (), **options: object
) -> list[Delta]:
    chosen = SamplingOptions(max_tokens=MOST, **options)
    request = Request("a", np.array([], np.int64), chosen, seed=0, blocked=blocked)
    answer = Answer(request, tokenizer)
    deltas = []
    for token in tokens:
        delta = answer.take(token)
        if delta is not None:
            deltas.append(delta)
            if delta.finish_reason is not None:
                return deltas
    return [*deltas, answer.take(tokenizer.end_id)]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.name)
@given(
    text=st.text(ALPHABET, max_size=40),
    stops=st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4).map(tuple),
    shown=st.booleans(),
)
def test_pieces_are_whole_characters_and_end_at_a_stop_string(
    tokenizer: Tokenizer, text: str, stops: tuple[str, ...], shown: bool
) -> None:
    tokens = tokenizer.encode(text).tolist()
    deltas = stream(tokenizer, tokens, stop=stops, include_stop_str_in_output=shown)
    before, stopped = naive(text, stops)
    joined = "".join(delta.text for delta in deltas)
    if shown and stopped:
        assert joined.startswith(before)
        assert joined[len(before) :] in stops
        assert text.startswith(joined)
    else:
        assert joined == before
    # No piece is cut within a character: nothing was replaced, in any of them.
    assert not any("\ufffd" in delta.text for delta in deltas)
    assert deltas[-1].finish_reason == "stop"
    ends = [delta.finish_reason for delta in deltas]
    assert ends[:-1] == [None] * (len(ends) - 1)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.name)
@given(tokens=st.lists(st.integers(0, 10**6), max_size=60))
def test_any_tokens_give_what_decoding_them_at_once_gives(
    tokenizer: Tokenizer, tokens: list[int]
) -> None:
    banned = tokenizer.generation_banned(documents=False)
    drawn = [token % tokenizer.vocab_size for token in tokens]
    drawn = [token for token in drawn if token not in banned]
    deltas = stream(tokenizer, drawn)
    assert "".join(delta.text for delta in deltas) == tokenizer.decode(drawn)
    assert sum(delta.tokens for delta in deltas) == len(drawn) + 1


def joined(deltas: list[Delta]) -> tuple[str, str | None, int]:
    text = "".join(delta.text for delta in deltas)
    return text, deltas[-1].finish_reason, sum(delta.tokens for delta in deltas)


def test_a_stop_token_ends_the_text_and_is_shown_where_that_is_asked_for() -> None:
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode("ab.c").tolist()
    options = {"stop_token_ids": [ord(".")], "stop": ["b!"]}
    assert joined(stream(tokenizer, tokens, **options)) == ("ab", "stop", 3)
    shown = stream(tokenizer, tokens, include_stop_str_in_output=True, **options)
    assert joined(shown) == ("ab.", "stop", 3)


def test_stop_strings_are_looked_for_behind_the_least_number_of_tokens() -> None:
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode("a.b.c").tolist()
    assert joined(stream(tokenizer, tokens, stop=["."])) == ("a", "stop", 2)
    assert joined(stream(tokenizer, tokens, stop=["."], min_tokens=2)) == ("a.b", "stop", 4)
    assert joined(stream(tokenizer, tokens, stop=[".b"], min_tokens=2)) == ("a.b.c", "stop", 6)


def test_blocked_words_are_looked_for_from_the_first_token_on() -> None:
    """And are not shown where stop strings are."""
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode("a.b.c").tolist()
    given = {"stop": [".c"], "min_tokens": 4, "include_stop_str_in_output": True}
    assert joined(stream(tokenizer, tokens, **given)) == ("a.b.c", "stop", 6)
    assert joined(stream(tokenizer, tokens, (".b",), **given)) == ("a", "stop", 3)
    assert joined(stream(tokenizer, tokens, ("b.",), **given)) == ("a.", "stop", 4)
    given["min_tokens"] = 0
    assert joined(stream(tokenizer, tokens, **given)) == ("a.b.c", "stop", 5)
    assert joined(stream(tokenizer, tokens, ("b.c",), **given)) == ("a.", "stop", 5)


def test_an_end_that_is_ignored_shows_nothing_and_goes_on() -> None:
    tokenizer = ByteTokenizer()
    first, second = tokenizer.encode("我"), tokenizer.encode("b")
    tokens = [*first, tokenizer.end_id, *second]
    answer = Answer(
        Request("a", first, SamplingOptions(max_tokens=5, ignore_eos=True), seed=0), tokenizer
    )
    deltas = [delta for delta in map(answer.take, tokens) if delta is not None]
    assert joined(deltas) == ("我b", "length", 5)
