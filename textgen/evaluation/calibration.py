"""Whether a model is right as often as it is sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from textgen.errors import InvalidCorpus, InvalidOption
from textgen.evaluation.measures import predictions
from textgen.model import TextGenerator
from textgen.tokenizers import Ids

_STREAMS = 32


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The predictions whose likeliest token had a chance above ``low`` and up to ``high``."""

    low: float
    high: float
    tokens: int
    confidence: float  # mean chance of the likeliest token; 0 in an empty bin
    accuracy: float  # share of them where it came; 0 in an empty bin


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of the next-token probabilities of one model on one text."""

    bins: tuple[ReliabilityBin, ...]

    @property
    def tokens(self) -> int:
        """How many were predicted."""
        return sum(each.tokens for each in self.bins)

    @property
    def expected_error(self) -> float:
        """Mean distance of confidence and accuracy, bins weighed by their tokens; 0 is best."""
        gaps = (each.tokens * abs(each.accuracy - each.confidence) for each in self.bins)
        return sum(gaps) / self.tokens


def calibrate(
    model: TextGenerator, tokens: Ids, *, bins: int = 15, streams: int = _STREAMS
) -> Calibration:
    """Expected calibration error and reliability in bins of equal width (Guo et al. 2017, 2).

    Every token but the first is predicted once, as in ``measures.evaluate``. InvalidCorpus where
    there are fewer than 2 tokens.
    """
    if bins < 1:
        raise InvalidOption(f"'bins' is {bins}; it must be 1 or more.", param="bins")
    if tokens.size < 2:
        raise InvalidCorpus(
            f"A text of {tokens.size} tokens cannot be evaluated; at least 2 are needed.",
            code="corpus_too_small",
        )
    counts, sums, right = np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins)
    for logits, targets, counted in predictions(model, tokens, streams):
        confidences, likeliest = torch.softmax(logits[counted], -1).max(-1)
        chances = confidences.double().cpu().numpy()
        places = np.clip(np.ceil(chances * bins).astype(np.int64) - 1, 0, bins - 1)
        counts += np.bincount(places, minlength=bins)
        sums += np.bincount(places, chances, bins)
        right += np.bincount(places, (likeliest == targets[counted]).cpu().numpy(), bins)
    some = np.maximum(counts, 1)
    edges = np.linspace(0, 1, bins + 1).tolist()
    rows = zip(
        edges[:-1],
        edges[1:],
        counts.tolist(),
        (sums / some).tolist(),
        (right / some).tolist(),
        strict=True,
    )
    return Calibration(tuple(ReliabilityBin(*row) for row in rows))
