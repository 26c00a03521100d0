"""What single units do while a model reads, and how surprising each token is."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.random_models import BundleMaker
from textgen.bundles.bundle import Bundle
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption
from textgen.evaluation.character_kinds import kinds_of
from textgen.evaluation.evaluate import evaluate_bundle
from textgen.evaluation.heat_text import HeatPiece, heat_text
from textgen.evaluation.options import EvaluationOptions
from textgen.evaluation.scoring import score_rows
from textgen.evaluation.traces import read_along, trace
from textgen.tokenizers import ByteTokenizer, CharTokenizer

WORDS = "the cat, a dog and the mat. "
TOKENIZER = CharTokenizer(" .,abcdeghimnot")


@pytest.fixture
def bundle(make_bundle: BundleMaker) -> Bundle:
    return make_bundle(2, 16, 8, tokenizer=TOKENIZER, spread=3)


class TestKinds:
    """What a character is, and where it stands."""

    def test_each_at_the_end_of_its_text(self) -> None:
        found = kinds_of(["Ab", " ", "9", "«x", "»", "(", "[]", ")\n", "", "y"])
        assert found["letter"].tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
        assert found["space"].tolist() == [0, 1, 0, 0, 0, 0, 0, 1, 1, 0]
        assert found["digit"][2] == 1
        assert found["within quotes"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        assert found["within brackets"].tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]
        assert found["place in line"].tolist() == [2, 3, 4, 6, 7, 8, 10, 0, 0, 1]


class TestReading:
    """States and surprise, token by token."""

    def test_states_are_those_of_the_whole_text_read_at_once(self, bundle: Bundle) -> None:
        ids = TOKENIZER.encode(WORDS)
        found = read_along(bundle.model, ids, TOKENIZER, lambda: None)
        with torch.no_grad():
            whole, (h, c) = bundle.model.lstm(
                bundle.model.embedding(torch.from_numpy(ids.astype(np.int64))[None])
            )
        assert found.h.shape == found.c.shape == (len(ids), 2, 16)
        assert np.allclose(found.h[:, 1], whole[0].numpy(), atol=1e-6)
        assert np.allclose(found.h[-1], h[:, 0].numpy(), atol=1e-6)
        assert np.allclose(found.c[-1], c[:, 0].tanh().numpy(), atol=1e-6)

    def test_the_surprises_are_the_score_of_the_row(self, bundle: Bundle) -> None:
        lead = score_rows(bundle, [WORDS[1:]])  # read after the first token that has a text
        ids = TOKENIZER.encode(WORDS)
        found = read_along(bundle.model, ids, TOKENIZER, lambda: None)
        assert np.isnan(found.nats[0])
        assert next(iter(lead)).tokens == len(ids) - 1
        with torch.no_grad():
            logits, _ = bundle.model(torch.from_numpy(ids.astype(np.int64))[None])
        expected = (
            -logits[0, :-1]
            .log_softmax(1)
            .gather(1, torch.from_numpy(ids.astype(np.int64))[1:, None])
        )
        assert np.allclose(found.nats[1:], expected[:, 0].numpy(), atol=1e-5)
        assert all(len(each) == 3 for each in found.likely[1:])


def follow_spaces(bundle: Bundle) -> None:
    """Make cell 5 of layer 1 tell whether the last token was a space, and nothing else."""
    lstm, hidden = bundle.model.lstm, 16
    with torch.no_grad():
        bundle.model.embedding.weight[:, 0] = -1
        bundle.model.embedding.weight[int(TOKENIZER.encode(" ")[0]), 0] = 1
        for gate, bias in enumerate((20.0, -20.0, 0.0, 20.0)):  # i, f, g, o
            row = gate * hidden + 5
            lstm.weight_ih_l0[row] = 0
            lstm.weight_hh_l0[row] = 0
            lstm.bias_ih_l0[row] = bias
            lstm.bias_hh_l0[row] = 0
        lstm.weight_ih_l0[2 * hidden + 5, 0] = 1.0


class TestUnits:
    """Which units are shown, and what they are said to follow."""

    def test_a_cell_that_follows_spaces_is_found(self, bundle: Bundle) -> None:
        follow_spaces(bundle)
        found = trace(bundle.model, TOKENIZER.encode(WORDS * 3), TOKENIZER, most=0)
        unit = next(each for each in found.units if "space" in each.kinds)
        assert unit.unit == "c1:5"
        assert unit.kinds["space"] == pytest.approx(1.0)
        spaces = [token.text == " " for token in found.tokens]
        assert [value > 0 for value in unit.values] == spaces

    def test_those_that_vary_most_and_those_asked_for(self, bundle: Bundle) -> None:
        ids = TOKENIZER.encode(WORDS)
        found = trace(bundle.model, ids, TOKENIZER, most=3, units=("h2:7",))
        reading = read_along(bundle.model, ids, TOKENIZER, lambda: None)
        names = [each.unit for each in found.units]
        assert names[0] == "h2:7"
        assert np.allclose(found.units[0].values, reading.h[:, 1, 7], atol=1e-4)
        varied = np.argsort(-reading.c.std(0), axis=None)[:3]
        assert {f"c{place // 16 + 1}:{place % 16}" for place in varied} <= set(names)
        assert len(set(names)) == len(names)

    @pytest.mark.parametrize("unit", ["c3:0", "h1:16"])
    def test_a_unit_that_is_not_there(self, bundle: Bundle, unit: str) -> None:
        with pytest.raises(InvalidOption, match=unit) as caught:
            trace(bundle.model, TOKENIZER.encode(WORDS), TOKENIZER, most=1, units=(unit,))
        assert caught.value.param == "units"

    def test_parts_of_characters_are_named(self, make_bundle: BundleMaker) -> None:
        tokenizer = ByteTokenizer()
        found = trace(
            make_bundle(tokenizer=tokenizer).model, tokenizer.encode("é"), tokenizer, most=1
        )
        assert [token.text for token in found.tokens] == ["bytes:\\xc3", "bytes:\\xa9"]


class TestReport:
    """As a part of an evaluation."""

    def test_the_page_escapes_the_text_and_holds_no_script(
        self, make_bundle: BundleMaker, tmp_path: Path
    ) -> None:
        path = tmp_path / "evil.txt"
        path.write_text("<script>alert('x')</script>&\"\n" * 8)
        bundle = make_bundle(tokenizer=ByteTokenizer())
        options = EvaluationOptions.parse({"parts": "traces", "trace_tokens": 40, "units": "h1:3"})
        report = evaluate_bundle(bundle, sources=[Source(path)], options=options)
        assert report is not None
        assert report.traces is not None
        assert len(report.traces.tokens) == 40
        tags = Tags()
        tags.feed(report.as_html())
        assert not tags.names & {"script", "style", "img"}
        assert {"svg", "rect", "text"} <= tags.names
        assert not [name for name in tags.attributes if name.startswith("on") or name == "style"]

    def test_a_long_text_goes_on_in_the_next_line(self) -> None:
        pieces = [
            HeatPiece("我" * 30, 1.0, "x"),
            HeatPiece("b\n", -1.0, "y"),
            HeatPiece("c", 0, ""),
        ]
        drawn = heat_text("title", [*pieces, *pieces])
        assert 'viewBox="0 0 800 66"' in drawn  # three lines
        assert "⏎" in drawn


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
