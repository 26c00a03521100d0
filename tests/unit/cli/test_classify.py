"""``textgen classify``: what is sent, and what is printed of the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from web.cli import classify as module
from web.cli.api import Api, Server
from web.cli.app import textgen


class Scores:
    """A server that finds a text likelier to be long the longer it is."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.asked.append(body)
        data = []
        for index, text in enumerate(body["input"]):
            chance = min(len(text), 100) / 100
            ranked = [
                {"label": "long", "probability": chance},
                {"label": "short", "probability": 1 - chance},
            ]
            ranked.sort(key=lambda each: -float(str(each["probability"])))
            data.append({"index": index, **ranked[0], "probabilities": ranked[: body.get("top_k")]})
        return httpx.Response(200, json={"data": data})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Scores:
    scores = Scores()
    api = Api(Server("http://server", "tg_1"), httpx.MockTransport(scores))
    monkeypatch.setattr(module, "connect", lambda: api)
    return scores


def run(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(textgen, ["classify", *words], input=given, standalone_mode=False)


def test_one_text_is_shown_with_all_its_labels(server: Scores) -> None:
    found = run("m", "a" * 90)
    assert found.output.split() == ["label", "probability", "long", "0.9000", "short", "0.1000"]
    assert server.asked == [{"model": "m", "input": ["a" * 90]}]


def test_of_several_each_line_is_label_chance_and_text(server: Scores) -> None:
    found = run("m", "short", "a\tlong\ntext " * 9)
    lines = [line.split("\t") for line in found.output.splitlines()]
    assert lines[0] == ["short", "0.9500", "short"]
    assert lines[1][0] == "long"
    assert len(lines[1]) == 3
    lines = [line.split("\t") for line in run("m", "x", "y", "--top-k", "2").output.splitlines()]
    assert lines[0] == ["short", "0.9900", "long", "0.0100", "x"]
    assert server.asked[-1]["top_k"] == 2


def test_a_file_is_sent_some_texts_at_a_time(server: Scores, tmp_path: Path) -> None:
    texts = ["b" * (number % 90 + 1) for number in range(150)]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": "x"}) + "\n" for text in texts)
    )
    (tmp_path / "rows.txt").write_text("\n".join(texts))
    (tmp_path / "rows.csv").write_text("review,n\n" + "".join(f"{text},1\n" for text in texts))
    for name, more in (("rows.jsonl", ()), ("rows.txt", ()), ("rows.csv", ("--column", "review"))):
        server.asked.clear()
        found = run("m", "--file", str(tmp_path / name), "--json", *more)
        results = json.loads(found.output)
        assert [each["text"] for each in results] == texts
        assert [each["index"] for each in results] == list(range(150))
        assert [len(body["input"]) for body in server.asked] == [64, 64, 22]


def test_lines_of_standard_input_are_texts(server: Scores) -> None:
    found = run("m", "-", given="one\ntwo\n")
    assert [line.split("\t")[2] for line in found.output.splitlines()] == ["one", "two"]


def test_a_file_without_a_text_is_said_so(server: Scores, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("\n\n")
    found = run("m", "--file", str(tmp_path / "rows.txt"))
    assert "no text" in str(found.exception)
    assert not server.asked


@pytest.mark.parametrize("words", [(), ("a", "--file", __file__)])
def test_either_texts_or_a_file(server: Scores, words: tuple[str, ...]) -> None:
    assert "either TEXT or --file" in str(run("m", *words).exception)
