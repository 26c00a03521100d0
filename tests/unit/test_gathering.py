"""When text leaves the engine process, by a clock of the test's own."""

from __future__ import annotations

import pytest

from textgen.engine.requests import Delta
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, GenerateRequest, Usage
from worker.generation.gathering import BEAT_SECONDS, PHASES, WHOLE_BEAT_SECONDS, Gathering


def begun(*names: str, n: int = 1, stream: bool = True) -> Gathering:
    gathering = Gathering()
    for name in names:
        gathering.begin(
            GenerateRequest(
                id=name,
                bundle=BundleReference(artifact="a", file="f"),
                prompts=("x", "y"),
                n=n,
                options=SamplingOptions(),
                seed=1,
                stream=stream,
            )
        )
    return gathering


def add(gathering: Gathering, name: str, text: str, *, choice: int = 0, end: bool = False) -> None:
    gathering.add(Delta(f"{name}/{choice}", text, 1, "length" if end else None, 7))


def test_the_first_text_leaves_at_once_and_the_rest_on_the_beat() -> None:
    gathering = begun("r")
    gathering.due(100.0)
    add(gathering, "r", "a")
    assert [each[1][0].text for each in gathering.due(100.001)] == ["a"]

    left = []
    for step in range(1, 101):  # a token a millisecond
        add(gathering, "r", "b")
        left += [each[1][0] for each in gathering.due(100.001 + step / 1000)]

    assert len(left) == 2
    assert sum(each.tokens for each in left) == pytest.approx(100, abs=BEAT_SECONDS * 1000 + 1)
    assert all(each.text == "b" * each.tokens for each in left)


def test_streams_take_turns() -> None:
    names = [f"r{number}" for number in range(2 * PHASES)]
    gathering = begun(*names)
    gathering.due(100.0)
    for name in names:
        add(gathering, name, "a")
    gathering.due(100.0)

    sizes = []
    for tick in range(1, 2 * PHASES + 1):
        for name in names:
            add(gathering, name, "b")
        sizes.append(len(gathering.due(100.0005 + tick * BEAT_SECONDS / PHASES)))

    assert sizes == [2] * (2 * PHASES)


def test_the_end_leaves_at_once_with_what_was_counted() -> None:
    """A prompt counts once, however many choices it has."""
    gathering = begun("r", n=2, stream=False)
    gathering.due(100.0)
    for choice in range(4):
        add(gathering, "r", "abc", choice=choice)
        assert gathering.due(100.1) == []
        add(gathering, "r", "d", choice=choice, end=True)

    [(name, deltas, usage, error)] = gathering.due(100.2)

    assert (name, usage, error) == ("r", Usage(14, 8), None)
    assert {each.index: each.text for each in deltas} == dict.fromkeys(range(4), "abcd")
    assert {each.finish_reason for each in deltas} == {"length"}
    assert gathering.due(200.0) == []


def test_an_answer_that_is_wanted_whole_still_leaves_now_and_then() -> None:
    gathering = begun("r", stream=False)
    gathering.due(100.0)
    add(gathering, "r", "abc")
    assert gathering.due(100.0 + WHOLE_BEAT_SECONDS / 2) == []
    assert len(gathering.due(100.0 + WHOLE_BEAT_SECONDS)) == 1


def test_what_comes_of_a_request_that_was_stopped_is_dropped() -> None:
    gathering = begun("r")
    add(gathering, "r", "abc")
    gathering.forget("r")
    add(gathering, "r", "d")
    assert gathering.due(200.0) == []
