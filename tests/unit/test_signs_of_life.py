"""Long work that makes no steps says what it does; short work says nothing."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_files import TEXT, Listener, small, text_file
from textgen import signs_of_life
from textgen.corpus import copy_index
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.errors import InvalidInput
from textgen.events import Event, ignore
from textgen.options import Hyperparameters
from textgen.signs_of_life import SignsOfLife
from textgen.training import copies
from textgen.training.train import train_files


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


@pytest.mark.parametrize("objectives", [{"causal": 1.0}, {"infill": 1.0}])
def test_all_measuring_and_indexing_at_the_end_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objectives: dict[str, float]
) -> None:
    """What says nothing for ten minutes is taken for hung, and killed."""

    def slow_build(*arguments: Any) -> Any:
        time.sleep(0.2)
        return copy_index.build(*arguments)

    monkeypatch.setattr(signs_of_life, "EVERY", 0.0)
    monkeypatch.setattr(copies, "build", slow_build)
    told = Listener()
    train_files(
        [text_file(tmp_path, 4 * TEXT)],
        preset="lstm-tiny",
        hyperparameters=small(test_fraction=0.1, copy_index=40, objectives=objectives),
        folder=tmp_path / "work",
        device="cpu",
        on_event=told,
    )
    last_step = max(
        place
        for place, event in enumerate(told.events)
        if event.data.get("step") == 60 and event.type == "checkpoint"
    )
    after = told.events[last_step:]
    doing = [event.data["doing"] for event in after if "doing" in event.data]
    for what in ("measuring on the validation text", "measuring on the test text", "indexing"):
        assert any(str(each).startswith(what) for each in doing), what
    assert doing[-1] is None


def test_measuring_classes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "EVERY", 0.0)
    rows = [
        {"text": f"{word} {number}", "label": label}
        for number in range(40)
        for word, label in (("good", "yes"), ("bad", "no"))
    ]
    lines = "\n".join(map(json.dumps, rows))
    source = text_file(tmp_path, lines, "rows.jsonl")
    told, wanted = Listener(), small(max_steps=20)
    train_files(
        [source], preset="lstm-tiny", hyperparameters=wanted, folder=tmp_path / "work",
        device="cpu", on_event=told,
    )  # fmt: skip
    doing = {
        str(event["doing"]).split(",")[0] for event in told.all("progress") if "doing" in event
    }
    assert "measuring on the validation text" in doing
