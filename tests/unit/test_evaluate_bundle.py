"""A whole evaluation of a small model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training_files import small, text_file
from textgen.bundles.bundle import load_bundle
from textgen.corpus.sources import Source
from textgen.evaluation.evaluate import evaluate_bundle
from textgen.evaluation.report import Report
from textgen.training.train import train_files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Source]:
    folder = tmp_path_factory.mktemp("model")
    source = text_file(folder)
    model = train_files([source], folder=folder / "work", hyperparameters=small(max_steps=200))
    assert model is not None
    return model, source


def test_what_was_held_out_costs_what_the_training_measured(trained: tuple[Path, Source]) -> None:
    model, source = trained
    report = evaluate_bundle(model, training_sources=[source])
    assert report is not None
    metrics = load_bundle(model).header.metrics
    assert report.prediction is not None
    assert report.prediction.loss == pytest.approx(metrics["full_valid_loss"], rel=1e-5)
    assert Report.parse(report.as_dict()) == report
