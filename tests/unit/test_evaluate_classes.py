"""Of an evaluation how well classes are told apart, with what else is measured of such a model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textgen.bundles.bundle import load_bundle
from textgen.corpus.sources import Source
from textgen.evaluation.classes import ClassTally
from textgen.evaluation.evaluate import evaluate_bundle
from textgen.evaluation.options import EvaluationOptions
from textgen.evaluation.report import Classes, Report
from textgen.options import Hyperparameters
from textgen.training.train import train_files

WORDS = {"<cold>": ("ice", "snow", "frost"), "warm": ("sun", "fire", "tea")}
OPTIONS = {
    "hidden_size": 24, "embedding_size": 8, "batch_size": 8, "sequence_length": 24, "layers": 1,
    "max_steps": 120, "seed": 3, "mask_personal_data": True, "deduplicate": "exact",
    "validation_fraction": 0.3,
}  # fmt: skip
FEW: dict[str, Any] = {
    "samples": 4, "sample_tokens": 20, "resamples": 100, "bias_rows": 20, "terms": [["he", "she"]],
    "parts": "prediction,classes,rows,bias",
}  # fmt: skip


def write(folder: Path, rows: list[dict[str, str]], name: str = "rows.jsonl") -> Source:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source(path)


def rows_of(count: int) -> list[dict[str, str]]:
    draw = random.Random(1)
    made = []
    for number in range(count):
        label = draw.choice(sorted(WORDS))
        who = draw.choice(("he", "she"))
        text = f"{draw.choice(WORDS[label])} {who} a{number}@example.org {number:03}"
        made.append({"text": text, "label": label})
    return made


def trained(folder: Path, source: Source, objectives: Any) -> Path:
    wanted = Hyperparameters.parse({**OPTIONS, "objectives": objectives})
    path = train_files(
        [source], folder=folder / "work", preset="lstm-tiny", hyperparameters=wanted, threads=1
    )
    assert path is not None
    return path


def evaluated(model: Path, **more: Any) -> Report:
    found = evaluate_bundle(model, options=EvaluationOptions.parse(FEW), **more)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    rows = rows_of(160)
    copies = [{**row, "label": "warm"} for row in rows[:20]]
    return write(tmp_path_factory.mktemp("rows"), [*rows, *copies])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, source: Source) -> Path:
    folder = tmp_path_factory.mktemp("both")
    return trained(folder, source, {"classify": 2, "causal": 1})


def test_classes_are_told_apart_as_the_training_measured(both: Path, source: Source) -> None:
    report = evaluated(both, training_sources=[source])
    header = load_bundle(both).header
    found, metrics = report.classes, header.metrics
    assert report.missing == {}
    assert found is not None
    assert header.corpus["left_out"]["copies"] == 20
    assert found.log_loss == pytest.approx(metrics["full_valid_classify_loss"], rel=1e-5)
    assert found.accuracy == metrics["full_valid_accuracy"] > 0.7
    assert found.macro.f1 == pytest.approx(metrics["full_valid_f1"])
    assert header.classification is not None
    assert [list(row) for row in found.confusion] == header.classification["confusion"]
    assert found.texts == header.corpus["splits"]["valid"]["documents"] == report.text.documents
    assert Report.parse(json.loads(json.dumps(report.as_dict(), allow_nan=False))) == report
    assert report.prediction is not None
    assert report.bias[0].rows == 20


def test_the_page_shows_the_confusion_matrix(both: Path, source: Source) -> None:
    report = evaluated(both, training_sources=[source])
    page = report.as_html()
    assert report.classes is not None
    for label, row in zip(("&lt;cold&gt;", "warm"), report.classes.confusion, strict=True):
        cells = (label, *(f"{count:,}" if count else "" for count in row))
        assert "<tr>" + "".join(f'<td valign="top">{cell}</td>' for cell in cells) + "</tr>" in page
    assert "<cold>" not in page


def test_of_many_classes_the_page_shows_the_frequent_confusions(both: Path, source: Source) -> None:
    labels = [f"class {number}" for number in range(60)]
    tally = ClassTally(labels)
    scores = np.full((3, 60), -10.0)
    scores[:, 7] = -0.1
    tally.add(scores, np.array([5, 5, 7]))
    many = Classes.parse(tally.metrics().as_dict())
    report = evaluated(both, training_sources=[source]).model_copy(update={"classes": many})
    assert many.confusion == ()
    cells = ("class 5", "class 7", "2")
    assert "".join(f'<td valign="top">{cell}</td>' for cell in cells) in report.as_html()


def test_a_text_without_labels_or_with_others_says_why(both: Path, tmp_path: Path) -> None:
    rows = rows_of(40)
    plain = write(tmp_path, [{"text": row["text"]} for row in rows], "plain.jsonl")
    report = evaluated(both, sources=[plain])
    assert report.missing == {"classes": "the text has no labels"}
    assert report.prediction is not None
    other = write(tmp_path, [*rows, {"text": "fire", "label": "hot"}], "other.jsonl")
    report = evaluated(both, sources=[other])
    assert "'hot'" in report.missing["classes"]
    assert report.prediction is not None


def test_of_a_model_of_labels_alone_they_are_what_is_measured(
    source: Source, tmp_path: Path
) -> None:
    report = evaluated(trained(tmp_path, source, "classify"), training_sources=[source])
    assert set(report.missing) == {"prediction", "rows", "bias"}
    assert report.classes is not None
    assert report.classes.texts > 20
