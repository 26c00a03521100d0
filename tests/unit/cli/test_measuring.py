"""What ``textgen score`` and ``textgen eval`` print."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cli.test_follow import job
from textgen.errors import InvalidOption
from web.cli.figures import figures
from web.cli.follow import describe, share
from web.cli.options import values_of
from web.cli.score import marked


def row(text: str, place: int | None, characters: int | None = None) -> dict[str, Any]:
    length = len(text) if characters is None else characters
    return {"text": text, "most_surprising": place, "characters": length}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (row("error", 0), "⟦e⟧rror"),
        (row("error", 4), "erro⟦r⟧"),
        (row("x" * 200, 150), "…" + "x" * 50 + "⟦x⟧" + "x" * 49),
        (row("x" * 200, 900, 1000), "x" * 100 + "…"),  # beyond what is stored of it
        (row("ab", None), "ab"),
    ],
)
def test_the_most_surprising_character_is_marked(given: dict[str, Any], shown: str) -> None:
    assert marked(given) == shown


def test_figures_of_a_report_have_names_in_words() -> None:
    summary = {
        "prediction": {"loss": 1.23456, "top_k": {"5": 0.9}},
        "text": {"origin": "held out", "tokens": 12345},
        "missing": {"bias": "no terms"},
    }

    assert list(figures(summary)) == [
        ("prediction loss", "1.2346"),
        ("prediction top k 5", "0.9000"),
        ("text origin", "held out"),
        ("text tokens", "12,345"),
    ]


def test_figures_of_a_report_have_chinese_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGEN_LANGUAGE", "zh")
    summary = {
        "prediction": {"bits_per_character": 1.5, "top_k": {"5": 0.9}},
        "text": {"origin": "held out"},
        "classes": {"macro": {"f1": 0.5}},
    }

    assert list(figures(summary)) == [
        ("预测 · 每字符比特数", "1.5000"),
        ("预测 · 前 k 个 · 5", "0.9000"),
        ("文本 · 来源", "留出的"),
        ("类别 · 宏平均 · F1", "0.5000"),
    ]


def test_work_of_any_unit_has_rate_and_time_left() -> None:
    progress = {"done": 50, "total": 200, "unit": "rows", "rate": 12.34, "seconds_left": 12.0}
    running = job(progress=progress)

    assert describe(running) == "50 of 200 rows · 12 rows/s · 12 s left"
    assert share(running) == (50, 200)


def test_an_evaluation_says_which_part_it_measures() -> None:
    running = job(progress={"part": "calibration", "step": 2, "total_steps": 10, "seconds": 4.2})

    assert describe(running) == "measuring calibration"
    assert share(running) == (2, 10)


def test_pairs_are_json_or_words() -> None:
    assert values_of(["a=[1, 2]", "b=x=y"], "a=1") == {"a": [1, 2], "b": "x=y"}
    with pytest.raises(InvalidOption, match="for example a=1"):
        values_of(["a"], "a=1")
