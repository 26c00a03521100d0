"""The page of an evaluation in Chinese: all that is its own, nothing that is a text's."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from textgen.evaluation.report import Report
from web.evaluation_pages import SAME, page_in

HAN = re.compile("[\u4e00-\u9fff]")
OWN = re.compile(
    r"<(?:h[1-3]|p|li|title)>(.*?)</|<th [^>]*>(.*?)</th>|aria-label=\"(.*?)\"", re.DOTALL
)
OVERLAPS = {
    "count": 9, "mean": 9, "median": 8, "percentile_90": 31, "percentile_99": 40, "longest": 77,
    "text": "<p>The ends.</p>",
}  # fmt: skip
SHARES = {"precision": 0.5, "recall": 0.5, "f1": 0.5}
REPORT: dict[str, Any] = {
    "model": {
        "parameters": 9000, "layers": 1, "hidden_size": 8, "tokenizer": "char", "vocab_size": 9,
        "objectives": ["causal", "infill"], "rows": "prompts",
    },
    "text": {
        "files": ["a.txt", "b.txt"], "origin": "held out", "documents": 12, "tokens": 9,
        "characters": 9, "bytes": 9, "unknown": 3, "left_out_characters": 7,
    },
    "options": {},
    "prediction": {
        "loss": 1.5, "perplexity": 4.5, "bits_per_character": 2.1, "bits_per_byte": 2.0,
        "accuracy": 0.5, "top_k": {"1": 0.5, "5": 0.9}, "position_unit": "tenth of the text",
        "positions": [{"first": 1, "last": 1, "tokens": 9, "loss": 1.5, "accuracy": 0.5}],
    },
    "context": [
        {"fewest": 0, "most": 0, "loss": 2.5, "tokens": 9},
        {"fewest": 1, "most": 2, "loss": 1.5, "tokens": 9},
    ],
    "calibration": {
        "expected_error": 0.1,
        "bins": [{"low": 0, "high": 1, "tokens": 9, "confidence": 0.5, "accuracy": 0.4}],
    },
    "rows": [
        {"number": 1, "before": "loss", "text": "tokens", "nats": 9, "tokens": 3, "characters": 3}
    ],
    "tasks": {"infill": {"tasks": 5, "loss": 1.5, "accuracy": 0.5, **SHARES, "exact": 0.1}},
    "classes": {
        "texts": 2, "log_loss": 0.5, "accuracy": 0.5, "calibration_error": 0.1, "macro": SHARES,
        "weighted": SHARES,
        "classes": [{"label": name, "texts": 1, **SHARES} for name in ("loss", "win")],
        "confusion": [[1, 0], [1, 0]],
    },
    "samples": {
        "count": 2, "temperature": 0.7, "max_tokens": 9, "characters": 18, "texts": ["a <li>b"],
        "diversity": [
            {"unit": unit, "n": 2, "distinct": 0.5, "repetition": 0.1, "distinct_of_text": 0.5,
             "repetition_of_text": None}
            for unit in ("characters", "words")
        ],
    },
    "memorisation": {
        "characters": 900, "left_out_characters": 5, "samples": OVERLAPS, "text": OVERLAPS,
    },
    "canaries": [
        {"template": "loss", "secret": "1234", "bits": 1.5, "most_bits": 9.0, "method": "exact"}
    ],
    "baselines": {
        "learnt_characters": 9, "left_out_characters": 3, "characters": 9, "model": 2.0,
        "kneser_ney": 2.1, "ppm": 2.2,
    },
    "bias": [
        {
            "terms": ["他", "她"], "rows": 12, "ambiguous_rows": 1, "left_out_rows": 0,
            "directions": [
                {"term": "he", "other": "she", "rows": 12, "gap": 0.25, "low": 0.125, "high": 0.5,
                 "gap_per_character": 0.01, "likelier": 0.6}
            ],
            "pairs": [{"term": "he", "other": "she", "preference": 0.1, "low": None, "high": None}],
            "worst": [{"text": "he is", "exchanged": "she is", "gap": 1.5}],
        }
    ],
    "traces": {
        "tokens": [
            {"text": "a", "nats": None, "likeliest": []},
            {"text": "b", "nats": 1.5, "likeliest": [{"text": "loss", "probability": 0.5}]},
        ],
        "units": [{"unit": "c1:3", "spread": 0.5, "kinds": {"space": 0.5}, "values": [0.5, -0.5]}],
    },
    "missing": {"tasks": "the text has no labels"},
    "seconds": 12.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def english() -> str:
    return Report.parse(REPORT).as_html(title="Evaluation of ft:lstm-auto:acme::1")


def test_all_that_a_page_says_is_in_chinese(english: str) -> None:
    page = page_in("zh", english)

    said = ["".join(found) for found in OWN.findall(page.split("<style")[0])]
    figures = re.compile(r"[\d.,+–\-: to]*|c1:3|loss|win")  # also the classes' own names
    left = [text for text in said if not HAN.search(text) and not figures.fullmatch(text)]
    assert [unescape(text) for text in left if text not in SAME] == []
    assert len(said) > 100
    assert "<title>ft:lstm-auto:acme::1 的评估</title>" in page
    assert "<li>习题：文本没有标签</li>" in page
    assert "<li>文本：a.txt, b.txt（训练时留出的）：12 篇文档，9 个词元，" in page


def test_what_models_and_texts_say_stays(english: str) -> None:
    page = page_in("zh", english)

    for text in ("tokens", "loss"):  # of a row, of a canary, of a class
        assert f'<td valign="top">{text}</td>' in page
    for heads in re.findall("<thead>.*?</thead>", page):
        assert ("loss" in heads) == ("win" in heads)  # the classes of the confusion alone
    assert "&lt;p&gt;The ends.&lt;/p&gt;" in page
    assert "a &lt;li&gt;b" in page


def test_the_parts_of_a_page_are_as_many_in_both_languages(english: str) -> None:
    page = page_in("zh", english)

    assert re.findall(r"</?\w+", page) == re.findall(r"</?\w+", english)
    assert '<html lang="zh">' in page
    assert page_in("en", english) == english
