"""What is said about a job while it runs."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from web.cli.follow import describe, print_event, share
from web.cli.terminal import size, span


def job(state: str = "running", **fields: Any) -> dict[str, Any]:
    return {"state": state, "phase": None, "progress": {}, "waiting": None, **fields}


def test_a_training_has_loss_rate_and_time_left() -> None:
    progress = {
        "step": 50,
        "total_steps": 200,
        "train_loss": 1.2345,
        "tokens_per_second": 41234.5,
        "seconds_left": 75.2,
    }
    running = job(progress=progress)

    assert describe(running) == "loss 1.234 · 41,234 tokens/s · 1 min 15 s left"
    assert share(running) == (50, 200)


def test_a_private_training_has_what_it_spent() -> None:
    progress = {"step": 50, "total_steps": 200, "epsilon_spent": 2.346, "tokens_per_second": 9000}
    assert describe(job(progress=progress)) == "epsilon 2.35 · 9,000 tokens/s"


def test_a_batch_has_its_lines() -> None:
    counts = {"total": 1000, "completed": 400, "failed": 2}
    running = job(progress={"request_counts": counts})

    assert describe(running) == "400 of 1,000 lines · 2 failed"
    assert share(running) == (402, 1000)


def test_a_queued_job_says_why_it_waits() -> None:
    waiting = {"reason": "no_worker", "position": 3, "estimated_start": None}
    text = describe(job("queued", waiting=waiting))

    assert "textgen worker train" in text
    assert "place 4 in the queue" in text
    first = {"reason": "behind_others", "position": 0, "estimated_start": None}
    assert describe(job("queued", waiting=first)) == "waiting: it is the next one"

    soon = {"reason": "behind_others", "position": 0, "estimated_start": time.time() + 100}
    assert "starts in about 1 min" in describe(job("queued", waiting=soon))
    late = soon | {"estimated_start": time.time() - 1}
    assert "starts" not in describe(job("queued", waiting=late))

    held = {"reason": "quota", "hold": "suspended", "position": 3}
    assert "whoever runs the service can resume it" in describe(job("queued", waiting=held))


def test_before_anything_is_known_there_is_the_phase() -> None:
    assert describe(job(phase="validating_files")) == "validating files"
    assert describe(job()) == "running"
    assert share(job()) == (0.0, None)


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ({"type": "state", "level": "info", "message": "Started."}, True),
        ({"type": "progress", "level": "info", "message": "Step 3"}, False),
        ({"type": "checkpoint", "level": "warn", "message": "Damaged"}, True),
        ({"type": "metrics", "level": "info", "message": "Step 5"}, False),
    ],
)
def test_events_that_the_bar_repeats_are_left_out(event: dict[str, Any], shown: bool) -> None:
    text = io.StringIO()
    print_event(Console(file=text), {"data": {}, **event})
    assert (event["message"] in text.getvalue()) is shown


def test_a_users_text_is_never_taken_for_markup() -> None:
    text = io.StringIO()
    console = Console(file=text, markup=False, highlight=False)
    event = {"type": "sample", "level": "info", "message": "", "data": {"text": "[bold]x[/bold]"}}
    print_event(console, event)
    assert "[bold]x[/bold]" in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min"), (125, "2 min 5 s"), (7500, "2 h 5 min"), (400_000, "4 d")],
)
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB")]
)
def test_sizes(count: float, words: str) -> None:
    assert size(count) == words


def test_before_the_first_step_it_says_what_is_being_done() -> None:
    assert describe(job(progress={"doing": "encoding, 4 s so far"})) == "encoding, 4 s so far"
    assert describe(job(progress={"doing": None, "train_loss": 1.5})) == "loss 1.500"


def test_after_the_last_step_it_says_what_is_being_done_and_no_rate() -> None:
    told = {"doing": "measuring on the validation text, 40 s so far", "train_loss": 1.5}
    steps = {"tokens_per_second": 3000, "seconds_left": 0.0}
    assert describe(job(progress=told | steps)) == f"loss 1.500 · {told['doing']}"
    assert describe(job(progress=told | steps | {"doing": None})).startswith("loss 1.500 · 3,000")


@pytest.mark.parametrize(
    ("running", "words"),
    [
        (job(phase="finalizing"), "收尾"),
        (job(), "运行中"),
        (job(progress={"doing": "encoding the text, 4 s so far"}), "给文本编码，已用 4 秒"),
        (
            job(progress={"doing": "measuring on the validation text, 4 s so far"}),
            "在验证文本上测量，已用 4 秒",
        ),
        (job(progress={"part": "calibration", "step": 2, "total_steps": 10}), "正在测量：校准"),
        (job(progress={"done": 5, "total": 20, "unit": "rows"}), "5 / 20 行"),
    ],
)
def test_progress_is_in_the_reader_s_language(
    monkeypatch: pytest.MonkeyPatch, running: dict[str, Any], words: str
) -> None:
    monkeypatch.setenv("TEXTGEN_LANGUAGE", "zh")
    assert describe(running) == words
