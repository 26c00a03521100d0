"""How well a model tells classes apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.bundles.bundle import Bundle
from textgen.classification import Chances, classify, label_scores
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.labelled import LabelledTexts
from textgen.corpus.splits import SplitName
from textgen.errors import InvalidCorpus
from textgen.model import TextGenerator

_ROWS = 1024  # at a time
_SEED = 20_250_102  # of the rows taken where not all are: the same whenever a part is measured
_BINS = 15
_WHOLE_MATRIX = 50  # classes; of more the most frequent confusions are told
_CONFUSIONS = 100


@dataclass(frozen=True)
class ClassMetrics:
    """Of one model on some labelled texts.

    ``confusion`` (C, C) counts texts by their label, then by what was found. Where a class was
    never found its precision is 0, where it has no text its recall is; means over the classes
    leave out those without a text.
    """

    labels: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    loss: float  # nats a text: minus the logarithm of the chance of its label
    calibration_error: float  # see ``textgen.evaluation.calibration``

    @property
    def texts(self) -> int:
        """How many there were."""
        return int(self.confusion.sum())

    @property
    def support(self) -> npt.NDArray[np.int64]:
        """Texts of each class (C,)."""
        support: npt.NDArray[np.int64] = self.confusion.sum(1)
        return support

    @property
    def accuracy(self) -> float:
        """Share of the texts whose label was the likeliest."""
        return float(self.confusion.trace() / max(self.texts, 1))

    @property
    def precision(self) -> Chances:
        """Share of what was found as a class that is of it (C,)."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(0))

    @property
    def recall(self) -> Chances:
        """Share of a class that was found (C,)."""
        return _shares(self.confusion.diagonal(), self.support)

    @property
    def f1(self) -> Chances:
        """Harmonic mean of the two (C,)."""
        return _shares(2 * self.confusion.diagonal(), self.confusion.sum(0) + self.support)

    def macro(self, values: Chances) -> float:
        """The mean over the classes, each counting the same."""
        there = self.support > 0
        return float(values[there].mean()) if there.any() else 0.0

    def weighted(self, values: Chances) -> float:
        """The mean over the classes by their texts."""
        return float((values * self.support).sum() / max(self.texts, 1))

    def named(self, prefix: str) -> dict[str, float | None]:
        """The figures under the names that events and bundles use."""
        return {
            f"{prefix}_classify_loss": self.loss,
            f"{prefix}_accuracy": self.accuracy,
            f"{prefix}_precision": self.macro(self.precision),
            f"{prefix}_recall": self.macro(self.recall),
            f"{prefix}_f1": self.macro(self.f1),
            f"{prefix}_weighted_f1": self.weighted(self.f1),
            f"{prefix}_calibration_error": self.calibration_error,
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values, class by class."""
        rows = zip(
            self.labels,
            self.support.tolist(),
            self.precision.tolist(),
            self.recall.tolist(),
            self.f1.tolist(),
            strict=True,
        )
        names = ("label", "texts", "precision", "recall", "f1")
        found: dict[str, Any] = {
            "texts": self.texts,
            "log_loss": self.loss,
            "accuracy": self.accuracy,
            "calibration_error": self.calibration_error,
            "macro": self._means(self.macro),
            "weighted": self._means(self.weighted),
            "classes": [dict(zip(names, row, strict=True)) for row in rows],
        }
        if len(self.labels) <= _WHOLE_MATRIX:
            found["confusion"] = self.confusion.tolist()
        else:
            found["most_confused"] = self._most_confused()
        return found

    def _means(self, mean: Any) -> dict[str, float]:
        figures = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {name: mean(values) for name, values in figures.items()}

    def _most_confused(self) -> list[dict[str, Any]]:
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        places = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
        pairs = zip(*np.unravel_index(places, wrong.shape), strict=True)
        return [
            {"label": self.labels[i], "found": self.labels[j], "texts": int(wrong[i, j])}
            for i, j in pairs
            if wrong[i, j]
        ]


class ClassTally:
    """Adds up what was found, text by text, in constant memory."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._confusion = np.zeros((len(labels), len(labels)), np.int64)
        self._loss = 0.0
        self._bins = np.zeros((3, _BINS))  # texts, sum of their confidences, and how many right

    def add(self, scores: Chances, wanted: npt.NDArray[np.integer[Any]]) -> None:
        """The logarithms (N, C) of the chances, and the right places (N,)."""
        wanted = wanted.astype(np.int64)
        found = scores.argmax(1)
        np.add.at(self._confusion, (wanted, found), 1)
        self._loss -= float(scores[np.arange(len(wanted)), wanted].sum())
        confidences = np.exp(scores.max(1))
        bins = np.clip(np.ceil(confidences * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
        for row, values in enumerate((np.ones(len(wanted)), confidences, found == wanted)):
            self._bins[row] += np.bincount(bins, values, _BINS)

    def metrics(self) -> ClassMetrics:
        """Of all that was added. The calibration error is that of Guo et al. 2017 (§2)."""
        texts, confidence, right = self._bins
        total = max(float(texts.sum()), 1.0)
        error = float(np.abs(right - confidence).sum()) / total
        return ClassMetrics(self._labels, self._confusion, self._loss / total, error)


def evaluate_part(
    model: TextGenerator,
    corpus: EncodedCorpus,
    split: SplitName,
    most: int | None = None,
    *,
    on_chunk: Callable[[], None] = lambda: None,
) -> ClassMetrics | None:
    """On a part of a labelled corpus, or on ``most`` texts drawn from it; None where it is empty.

    The same ones are drawn whenever a part is measured. ``on_chunk`` is called now and then.
    """
    texts = LabelledTexts(corpus, split)
    if len(texts) == 0:
        return None
    chosen = np.arange(len(texts))
    if most is not None and most < len(texts):
        chosen = np.random.default_rng(_SEED).permutation(len(texts))[:most]
    tally = ClassTally(corpus.labels)
    for first in range(0, len(chosen), _ROWS):
        some = chosen[first : first + _ROWS]
        rows = [texts.ids(int(number)) for number in some]
        scores = label_scores(model, rows, corpus.label_ids, on_chunk=on_chunk)
        tally.add(scores, texts.labels[some])
    return tally.metrics()


def evaluate_classifier(
    bundle: Bundle,
    rows: Iterable[tuple[str, str]],
    *,
    on_chunk: Callable[[], None] = lambda: None,
) -> ClassMetrics:
    """On rows of (text, label), in constant memory; ``on_chunk`` is called now and then.

    InvalidOption ``not_a_classifier``; InvalidCorpus ``unknown_label`` for a label that the model
    has not learnt, ``empty_file`` where there are no rows.
    """
    labels = bundle.header.labels
    places = {label: place for place, label in enumerate(labels)}
    tally, wanted = ClassTally(labels), list[int]()

    def texts() -> Iterable[str]:
        for number, (text, label) in enumerate(rows, 1):
            if label not in places:
                raise InvalidCorpus(
                    f"Text {number} has the label {label!r}, which this model has not learnt; it "
                    f"knows {', '.join(map(repr, labels[:20]))}.",
                    code="unknown_label",
                    param="label",
                )
            wanted.append(places[label])
            yield text

    count = 0
    for found in classify(bundle, texts(), on_chunk=on_chunk):
        chances = np.array([found.probabilities[label] for label in labels])
        tally.add(np.log(np.maximum(chances, 1e-300))[None], np.array([wanted[0]]))
        del wanted[0]
        count += 1
    if count == 0:
        raise InvalidCorpus("There is no labelled text to measure on.", code="empty_file")
    return tally.metrics()


def _shares(parts: npt.NDArray[np.int64], wholes: npt.NDArray[np.int64]) -> Chances:
    return parts / np.maximum(wholes, 1)
