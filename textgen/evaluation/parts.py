"""The parts of a report, each from one model and one text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from textgen.evaluation import prediction
from textgen.evaluation.options import PARTS, PartName
from textgen.evaluation.report import Calibration, Prediction, WorstRow
from textgen.evaluation.subject import NotMeasured, Subject


def _prediction(subject: Subject) -> Prediction:
    _needs_causal(subject)
    return prediction.predicted(subject.text, subject.scores, subject.options.top_k)


def _calibration(subject: Subject) -> Calibration:
    _needs_causal(subject)
    return prediction.calibration(subject.scores, subject.options.bins)


def _rows(subject: Subject) -> tuple[WorstRow, ...]:
    _needs_causal(subject)
    tokenizer, count = subject.bundle.tokenizer, subject.options.worst_rows
    return prediction.worst(subject.text, subject.scores, tokenizer, count)


def _needs_causal(subject: Subject) -> None:
    """NotMeasured for a model that has not learnt to predict text as it stands."""
    learnt = subject.bundle.header.objectives
    if "causal" not in learnt:
        raise NotMeasured(
            f"the model has learnt {', '.join(learnt)} alone, not to predict the next token"
        )


def _later(_: Subject) -> Any:
    raise NotMeasured("this version does not measure it yet")


# What is under a part's name in the report.
MEASURES: Mapping[PartName, Callable[[Subject], Any]] = MappingProxyType(
    dict.fromkeys(PARTS, _later)
    | {"prediction": _prediction, "calibration": _calibration, "rows": _rows}
)
