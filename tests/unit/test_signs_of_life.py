"""Long work before the first step says what it does; short work says nothing."""

import threading
import time
from pathlib import Path

import pytest

from textgen.corpus import signs_of_life
from textgen.corpus.encode import encode_corpus
from textgen.corpus.signs_of_life import SignsOfLife
from textgen.corpus.sources import Source
from textgen.errors import InvalidInput
from textgen.events import Event, ignore
from textgen.options import Hyperparameters


def test_short_work_says_nothing() -> None:
    told: list[Event] = []
    alive = SignsOfLife(told.append)
    alive.tell("reading the text", 5)
    assert alive.during("learning the vocabulary", lambda: 7) == 7
    alive.end()
    assert told == []


def test_long_work_tells_from_the_listeners_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "EVERY", 0.01)
    told: list[tuple[Event, int]] = []
    alive = SignsOfLife(lambda event: told.append((event, threading.get_ident())))

    def work() -> int:
        while not told:
            time.sleep(0.005)
        return threading.get_ident()

    assert alive.during("learning the vocabulary", work) != threading.get_ident()
    alive.end()
    assert {thread for _, thread in told} == {threading.get_ident()}
    events = [event for event, _ in told]
    assert {event.type for event in events} == {"progress"}
    assert events[0].data["doing"].startswith("learning the vocabulary, ")
    assert events[-1].data == {"doing": None}


def test_a_failure_of_the_work_is_a_failure_here() -> None:
    def work() -> None:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput, match="no"):
        SignsOfLife(ignore).during("learning the vocabulary", work)


def test_reading_learning_and_encoding_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs_of_life, "EVERY", 0.0)
    (tmp_path / "a.txt").write_text("".join(f"word{n % 777} " for n in range(300_000)))
    told: list[Event] = []
    encode_corpus(
        [Source(tmp_path / "a.txt")],
        Hyperparameters(tokenizer="bpe"),
        tmp_path / "out",
        on_event=told.append,
    )
    doing = [event.data["doing"] for event in told if event.type == "progress"]
    for what in ("reading the text", "learning the vocabulary", "encoding", "None"):
        assert any(str(each).startswith(what) for each in doing), what
