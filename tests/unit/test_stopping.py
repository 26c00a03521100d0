from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.engine.stopping import StopMatcher


def naive(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The text up to the stop that is complete first (the longest such), and if there is one."""
    for end in range(1, len(text) + 1):
        lengths = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if lengths:
            return text[: end - max(lengths)], True
    return text, False


def run(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], bool]:
    matcher = StopMatcher(stops)
    shown = [matcher.push(piece) for piece in pieces]
    return [*shown, matcher.finish()], matcher.stopped


@given(
    pieces=st.lists(st.text("ab我", max_size=5), max_size=30),
    stops=st.lists(st.text("ab我", min_size=1, max_size=6), min_size=1, max_size=4).map(tuple),
)
def test_any_chunking_gives_what_a_naive_search_gives(
    pieces: list[str], stops: tuple[str, ...]
) -> None:
    shown, stopped = run(pieces, stops)
    assert ("".join(shown), stopped) == naive("".join(pieces), stops)


@given(
    text=st.text("ab", max_size=60),
    stops=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4).map(tuple),
)
def test_what_is_shown_is_never_taken_back_and_nothing_is_held_without_need(
    text: str, stops: tuple[str, ...]
) -> None:
    matcher = StopMatcher(stops)
    shown = ""
    for index, character in enumerate(text):
        shown += matcher.push(character)
        if matcher.stopped:
            break
        held = text[len(shown) : index + 1]
        assert held == "" or any(stop.startswith(held) for stop in stops)
    assert naive(text, stops)[0].startswith(shown)


@given(
    pieces=st.lists(st.tuples(st.text("ab", max_size=4), st.booleans()), max_size=20),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3).map(tuple),
    blocked=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple),
    shown=st.booleans(),
)
def test_no_blocked_word_is_let_through_wherever_stops_are_looked_for(
    pieces: list[tuple[str, bool]],
    stops: tuple[str, ...],
    blocked: tuple[str, ...],
    shown: bool,
) -> None:
    matcher = StopMatcher(stops, blocked, shown=shown)
    passed = "".join(matcher.push(piece, stops=looked) for piece, looked in pieces)
    passed += matcher.finish()
    text = "".join(piece for piece, _ in pieces)
    assert text.startswith(passed)
    assert not any(word in passed for word in blocked)
    before, stopped = naive(text, blocked)
    assert matcher.stopped or (passed, stopped) == (text, False)
    if not stops:
        assert (passed, matcher.met_blocked) == (before, stopped)


@given(
    text=st.text("ab", max_size=40),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple),
    blocked=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple),
)
def test_stops_and_blocked_words_are_found_as_if_they_were_one_list(
    text: str, stops: tuple[str, ...], blocked: tuple[str, ...]
) -> None:
    matcher = StopMatcher(stops, blocked)
    passed = "".join(map(matcher.push, text)) + matcher.finish()
    assert (passed, matcher.stopped) == naive(text, (*stops, *blocked))


def test_a_stop_within_a_longer_one_wins_when_it_is_complete_first() -> None:
    assert run(["xabcd"], ("abcd", "bc")) == (["xa", ""], True)


def test_of_two_that_end_together_the_longer_counts() -> None:
    assert run(["xa", "bc"], ("bc", "abc")) == (["x", "", ""], True)


def test_held_text_comes_at_the_end() -> None:
    assert run(["one\n", "\n"], ("\n\n\n",)) == (["one", "", "\n\n"], False)


def test_nothing_comes_after_the_stop() -> None:
    assert run(["a.b", "c.", "d"], (".",)) == (["a", "", "", ""], True)


@pytest.mark.parametrize("pieces", [1, 1000, 100_000])
def test_the_time_is_linear_in_the_worst_case(pieces: int) -> None:
    text = ("a" * 999 + "b") * 100
    size = len(text) // pieces
    matcher = StopMatcher(("a" * 1000, "a" * 998 + "c"))
    started = time.process_time()
    shown = [matcher.push(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(shown) + matcher.finish() == text
    assert time.process_time() - started < 2


def test_a_stop_string_is_found_wherever_it_is_cut() -> None:
    generator = random.Random(0)
    text = "To be, or not to be: that is the question."
    for _ in range(200):
        cuts = sorted(generator.sample(range(len(text)), 5))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        shown, stopped = run(pieces, ("that", "question"))
        assert ("".join(shown), stopped) == ("To be, or not to be: ", True)
