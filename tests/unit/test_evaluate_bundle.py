"""A whole evaluation of a small model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.random_models import ALPHABET, BundleMaker
from tests.unit.training_files import TEXT, Listener, small, text_file
from textgen.bundles.bundle import Bundle, load_bundle
from textgen.corpus.sources import Source
from textgen.errors import InvalidCorpus, InvalidOption
from textgen.evaluation.evaluate import evaluate_bundle
from textgen.evaluation.options import PARTS, EvaluationOptions
from textgen.evaluation.report import Report
from textgen.tokenizers import BpeTokenizer, ByteTokenizer, CharTokenizer, Tokenizer, with_marks
from textgen.training.train import train_files

FEW: dict[str, Any] = {"samples": 6, "sample_tokens": 40, "tasks": 20, "bias_rows": 50,
                       "resamples": 100, "canary_samples": 100, "longest_context": 16}  # fmt: skip
ALL = FEW | {
    "terms": [["cat", "dog"], ["the", "a"]],
    "canaries": [{"template": "the hat had {} cats", "secret": "42"}],
}


def few(**changes: Any) -> EvaluationOptions:
    return EvaluationOptions.parse({**FEW, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Source]:
    folder = tmp_path_factory.mktemp("model")
    lines = "".join(f"line {i} {TEXT[i * 31 : i * 31 + 40]}\n" for i in range(100))
    source = text_file(folder, lines)
    wanted = small(max_steps=120, objectives=["causal", "infill"])
    model = train_files([source], folder=folder / "work", hyperparameters=wanted)
    assert model is not None
    return model, source


@pytest.fixture(scope="module")
def report(trained: tuple[Path, Source]) -> Report:
    model, source = trained
    options = EvaluationOptions.parse(ALL)
    found = evaluate_bundle(model, training_sources=[source], options=options)
    assert found is not None
    return found


def test_what_was_held_out_costs_what_the_training_measured(
    trained: tuple[Path, Source], report: Report
) -> None:
    metrics = load_bundle(trained[0]).header.metrics
    assert report.prediction is not None
    assert report.prediction.loss == pytest.approx(metrics["full_valid_loss"], rel=1e-5)
    assert report.prediction.accuracy == pytest.approx(metrics["full_valid_mean_token_accuracy"])
    assert report.prediction.bits_per_character == pytest.approx(
        metrics["valid_bits_per_character"], rel=1e-2
    )
    assert report.text.origin == "held out"
    assert report.text.files == ("text.txt",)


@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_what_was_held_out_of_a_cleaned_text_costs_the_same(tmp_path: Path, kind: str) -> None:
    rows = [f"ﬁne {n} {TEXT[n * 31 : n * 31 + 40]} n{n}@example.org" for n in range(150)]
    more: dict[str, Any] = {"mask_personal_data": True, "normalization": "nfkc"}
    text = "".join(f"{row}\n" for row in rows)
    if kind == "jsonl":
        more["deduplicate"] = "near"
        text = "".join(json.dumps({"text": row}) + "\n" for row in [*rows, *rows[:50]])
    source = text_file(tmp_path, text, f"rows.{kind}")
    wanted = small(max_steps=40, **more)
    model = train_files([source], folder=tmp_path / "work", hyperparameters=wanted)
    assert model is not None
    header = load_bundle(model).header
    assert header.corpus["masked"]
    if kind == "jsonl":
        assert header.corpus["left_out"]["copies"] == 50
    found = evaluate_bundle(model, training_sources=[source], options=few(parts="prediction"))
    assert found is not None
    assert found.prediction is not None
    assert found.prediction.loss == pytest.approx(header.metrics["full_valid_loss"], rel=1e-5)


def test_all_parts_are_measured(report: Report) -> None:
    assert set(report.missing) == {"classes"}
    assert all(getattr(report, part) for part in PARTS if part != "classes")
    assert set(report.tasks) == {"infill"}
    assert report.canaries[0].method == "exact"
    assert report.bias[0].rows > 0
    assert report.baselines is not None
    assert report.baselines.characters == report.text.characters


def test_the_model_is_compared_on_what_it_predicts(report: Report) -> None:
    assert report.prediction is not None
    assert report.baselines is not None
    assert report.baselines.model == pytest.approx(report.prediction.bits_per_character, rel=1e-5)


def test_a_report_is_plain_json_and_comes_back(report: Report) -> None:
    text = json.dumps(report.as_dict(), allow_nan=False)
    assert Report.parse(json.loads(text)) == report


def test_the_same_call_gives_the_same_report(trained: tuple[Path, Source], report: Report) -> None:
    again = evaluate_bundle(
        load_bundle(trained[0]),
        training_sources=[trained[1]],
        options=EvaluationOptions.parse(ALL),
    )
    assert again is not None
    assert again.model_copy(update={"seconds": report.seconds}) == report


def test_the_code_in_the_docs_runs(
    trained: tuple[Path, Source],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[2] / "docs/evaluation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- run: python -->\n```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("model.safetensors").symlink_to(trained[0])
    Path("corpus.txt").symlink_to(trained[1].path)
    exec(block, {})  # noqa: S102 - our own page
    assert float(capsys.readouterr().out) > 0
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


class Tags(HTMLParser):
    """Checks that tags are closed, and keeps names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_in_itself(report: Report) -> None:
    tags = Tags()
    tags.feed(report.as_html())
    assert tags.open == []
    assert not tags.names & {"script", "style", "link", "img", "iframe", "a"}
    assert not tags.attributes & {"style", "src", "href"}
    assert not any(name.startswith("on") for name in tags.attributes)
    assert {"svg", "table", "h2"} <= tags.names
    assert '<link rel="stylesheet" href="/a?b&amp;c">' in report.as_html(stylesheet="/a?b&c")


def test_nothing_in_a_report_becomes_markup(report: Report) -> None:
    evil = "<script>alert('x')</script>&\"\n"
    values = json.loads(json.dumps(report.as_dict()).replace("text.txt", "<script>x"))
    values["samples"]["texts"] = [evil]
    values["rows"][0]["text"] = values["rows"][0]["before"] = evil
    values["memorisation"]["samples"]["text"] = evil
    values["bias"][0]["worst"][0]["text"] = evil
    values["bias"][0]["terms"][0] = values["bias"][0]["directions"][0]["term"] = "<b>"
    values["canaries"][0]["template"] = evil
    values["missing"] = {"context": evil}
    page = Report.parse(values).as_html(title="<i>")
    tags = Tags()
    tags.feed(page)
    assert not tags.names & {"script", "b", "i"}
    assert "&lt;script&gt;alert(" in page


def test_parts_are_told_and_can_be_chosen(trained: tuple[Path, Source]) -> None:
    listener = Listener()
    found = evaluate_bundle(
        trained[0],
        training_sources=[trained[1]],
        options=few(parts="rows,prediction"),
        on_event=listener,
    )
    assert found is not None
    assert found.samples is None
    assert found.missing == {}
    told = listener.all("progress")
    assert [(each["part"], each["step"], each["total_steps"]) for each in told] == [
        ("prediction", 0, 2),
        ("rows", 1, 2),
    ]


@pytest.mark.parametrize("calls", [0, 1, 3, 30, 100])
def test_it_ends_where_it_is_asked_to(trained: tuple[Path, Source], calls: int) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > calls

    options = EvaluationOptions.parse(ALL)
    found = evaluate_bundle(
        trained[0], training_sources=[trained[1]], options=options, should_stop=stop
    )
    assert found is None
    assert asked == calls + 1


def test_a_given_text_is_measured_up_to_the_limit(
    trained: tuple[Path, Source], tmp_path: Path
) -> None:
    text = text_file(tmp_path, "the cat sat on a mat é. " * 200, "other.txt")
    options = few(max_tokens=1000)
    found = evaluate_bundle(trained[0], sources=[text], options=options)
    assert found is not None
    facts = found.text
    assert (facts.origin, facts.files, facts.documents) == ("given", ("other.txt",), 0)
    assert (facts.tokens, facts.characters, facts.left_out_characters) == (999, 1000, 3800)
    assert facts.unknown == 1000 // 24
    assert facts.bytes == len(("the cat sat on a mat é. " * 200)[:1000].encode())
    assert {"classes", "memorisation", "baselines", "canaries", "bias"} == set(found.missing)
    assert "training_sources" in found.missing["memorisation"]


def test_other_files_than_those_of_the_training_hold_nothing_out(
    trained: tuple[Path, Source], tmp_path: Path
) -> None:
    other = text_file(tmp_path, TEXT, "other.txt")
    with pytest.raises(InvalidCorpus, match="not quite those") as caught:
        evaluate_bundle(trained[0], training_sources=[other])
    assert caught.value.param == "sources"
    with pytest.raises(InvalidCorpus, match="give a text to measure on"):
        evaluate_bundle(trained[0])
    found = evaluate_bundle(
        trained[0], sources=[other], training_sources=[other], options=few(parts="memorisation")
    )
    assert found is not None
    assert found.memorisation is not None
    assert found.memorisation.characters == len(TEXT)  # all of it, since no part is known
    assert found.memorisation.text is not None
    assert found.memorisation.text.longest > 30  # the real text stands in itself


@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_a_test_file_of_its_own_leaves_the_validation_part_known(tmp_path: Path, kind: str) -> None:
    rows = [f"{n} {TEXT[n * 31 : n * 31 + 40]}" for n in range(120)]
    sources = []
    for name, part in (("train", rows[:100]), ("test", rows[100:])):
        lines = part if kind == "txt" else [json.dumps({"text": row}) for row in part]
        sources.append(text_file(tmp_path, "".join(f"{row}\n" for row in lines), f"{name}.{kind}"))
    model = train_files(
        sources[:1], test_sources=sources[1:], folder=tmp_path / "work",
        hyperparameters=small(max_steps=20),
    )  # fmt: skip
    assert model is not None
    found = evaluate_bundle(model, training_sources=sources[:1], options=few(parts="prediction"))
    assert found is not None and found.prediction is not None
    metrics = load_bundle(model).header.metrics
    assert found.prediction.loss == pytest.approx(metrics["full_valid_loss"], rel=1e-5)
    # With the test file among them these are other files.
    with pytest.raises(InvalidCorpus, match="not quite those"):
        evaluate_bundle(model, training_sources=sources, options=few(parts="prediction"))


def test_learnt_rows_are_never_called_held_out(tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"{n} {TEXT[n * 31 : n * 31 + 40]}"}) for n in range(120)]
    train = text_file(tmp_path, "\n".join(rows[:100]), "train.jsonl")
    valid = text_file(tmp_path, "\n".join(rows[100:]), "valid.jsonl")
    model = train_files(
        [train], validation_sources=[valid], folder=tmp_path / "work",
        hyperparameters=small(max_steps=20),
    )  # fmt: skip
    assert model is not None
    for files in ([train], [train, valid]):
        with pytest.raises(InvalidCorpus, match="was in a file of its own"):
            evaluate_bundle(model, training_sources=files, options=few(parts="prediction"))
    found = evaluate_bundle(
        model, sources=[valid], training_sources=[train], options=few(parts="prediction")
    )
    assert found is not None and found.prediction is not None
    metrics = load_bundle(model).header.metrics
    assert found.prediction.loss == pytest.approx(metrics["full_valid_loss"], rel=1e-5)


def test_a_given_text_is_brought_into_the_models_form(tmp_path: Path) -> None:
    lines = "".join(f"ﬁne {n} {TEXT[n * 31 : n * 31 + 40]}\n" for n in range(100))
    wanted = small(max_steps=20, normalization="nfkc")
    model = train_files(
        [text_file(tmp_path, lines)], folder=tmp_path / "work", hyperparameters=wanted
    )
    assert model is not None
    options = few(parts="prediction,baselines")
    reports = []
    for name, text in (("written.txt", lines), ("plain.txt", lines.replace("ﬁ", "fi"))):
        source = text_file(tmp_path, text, name)
        found = evaluate_bundle(model, sources=[source], training_sources=[source], options=options)
        assert found is not None
        reports.append((found.prediction, found.baselines, found.text.characters))
    assert reports[0] == reports[1]


def test_a_unit_that_is_not_there_is_refused_before_anything_is_measured(
    trained: tuple[Path, Source],
) -> None:
    told = Listener()
    with pytest.raises(InvalidOption, match="'units' has 'c8:0'"):
        evaluate_bundle(
            trained[0], training_sources=[trained[1]], options=few(units=["c8:0"]), on_event=told
        )
    assert not told.all("progress")


ROWS = {
    "text": [{"text": f"{TEXT[i * 13 : i * 13 + 30]}"} for i in range(40)],
    "prompts": [
        {"prompt": f"the cat {TEXT[i : i + 5]}", "completion": TEXT[i * 13 : i * 13 + 20]}
        for i in range(40)
    ],
    "messages": [
        {
            "messages": [
                {"role": "system", "content": "the dog"},
                {"role": "user", "content": f"had a cat {i % 7}"},
                {"role": "assistant", "content": TEXT[i * 13 : i * 13 + 20]},
            ]
        }
        for i in range(40)
    ],
}


def bpe() -> Tokenizer:
    learner = BpeTokenizer.learner(320)
    learner.add(TEXT)
    return learner.finish()


@pytest.mark.parametrize("kind", list(ROWS))
@pytest.mark.parametrize("tokenizer", [lambda: CharTokenizer(ALPHABET), ByteTokenizer, bpe])
def test_every_kind_of_rows_and_tokens(
    make_bundle: BundleMaker, tmp_path: Path, kind: str, tokenizer: Callable[[], Tokenizer]
) -> None:
    marks = ["answer", "system", "user", "assistant"]
    made = make_bundle(tokenizer=with_marks(tokenizer(), marks), documents=True)
    header = made.header.model_copy(update={"rows": kind})
    bundle = Bundle(header, made.tokenizer, made.model)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[kind]), encoding="utf-8")
    options = EvaluationOptions.parse(ALL)
    found = evaluate_bundle(
        bundle, sources=[Source(path)], training_sources=[Source(path)], options=options
    )
    assert found is not None
    assert set(found.missing) == {"tasks", "classes"}
    said = [row.get("text") or row.get("completion") or row["messages"][2]["content"]
            for row in ROWS[kind]]  # fmt: skip
    assert found.text.documents == 40
    assert found.text.characters == sum(map(len, said))
    assert found.text.tokens == sum(len(bundle.tokenizer.encode(text)) + 1 for text in said)
    assert found.prediction is not None
    assert sum(each.tokens for each in found.prediction.positions) == found.text.tokens
    assert found.prediction.loss == pytest.approx(np.log(bundle.model.vocab_size), rel=0.2)
    assert {row.text.strip() for row in found.rows} <= {text.strip() for text in said} | {
        text.replace("，", "�").strip() for text in said
    }
    assert Report.parse(found.as_dict()) == found
    Tags().feed(found.as_html())


def test_rows_of_another_kind_are_refused(make_bundle: BundleMaker, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS["prompts"][0]))
    with pytest.raises(InvalidCorpus, match="rows of prompts, and the model learnt from rows of t"):
        evaluate_bundle(make_bundle(documents=True), sources=[Source(path)])


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"parts": ["loss"]}, "parts"),
        ({"longest_context": 100}, "longest_context"),
        ({"terms": [["he"]]}, "terms"),
        ({"terms": [["he", "He"]]}, "terms"),
        ({"canaries": [{"template": "x", "secret": "1"}]}, "canaries"),
        ({"sample": 3}, "sample"),
    ],
)
def test_options_name_what_is_wrong(values: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        EvaluationOptions.parse(values)
    assert caught.value.param == param
