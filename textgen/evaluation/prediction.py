"""How well the next token is predicted: on the whole, by place, by certainty, by row."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidOption
from textgen.evaluation.report import (
    Calibration,
    PositionLoss,
    Prediction,
    ReliabilityBin,
    WorstRow,
)
from textgen.evaluation.text import MeasuredText
from textgen.evaluation.token_scores import TokenScores
from textgen.tokenizers import Tokenizer

_TENTHS = 10
_SHORTEST_PASSAGE, _LONGEST_PASSAGE = 32, 256  # tokens of whole lines of one text, as rows
_SHOWN = 400  # characters

Positions = npt.NDArray[np.int64]


def predicted(text: MeasuredText, scores: TokenScores, top_k: Sequence[int]) -> Prediction:
    """The figures of all tokens that count."""
    nats = float(scores.nats.sum(dtype=np.float64))
    loss = nats / len(scores)
    return Prediction(
        loss=loss,
        perplexity=math.exp(loss) if loss < 700 else None,
        bits_per_character=nats / math.log(2) / max(len(text.text), 1),
        bits_per_byte=nats / math.log(2) / max(text.bytes, 1),
        accuracy=float((scores.ranks == 0).mean()),
        top_k={k: float((scores.ranks < k).mean()) for k in sorted(top_k)},
        positions=tuple(_by_position(text, scores)),
        position_unit="token of a document" if len(text.starts) else "tenth of the text",
    )


def _by_position(text: MeasuredText, scores: TokenScores) -> Iterator[PositionLoss]:
    """Documents: places 1, 2, 3 to 4, 5 to 8 and so on. One text: ten equal parts."""
    if len(text.starts):
        begins = text.starts[np.searchsorted(text.starts, scores.places, "right") - 1]
        places = scores.places - begins + 1
        groups = np.ceil(np.log2(places)).astype(np.int64)  # 1 → 0, 2 → 1, 3 and 4 → 2 …
        bounds = [(1, 1)] + [(2 ** (g - 1) + 1, 2**g) for g in range(1, int(groups.max()) + 1)]
    else:
        groups = (np.arange(len(scores)) * _TENTHS) // len(scores)
        bounds = [(tenth, tenth) for tenth in range(1, _TENTHS + 1)]
    for group, (first, last) in enumerate(bounds):
        inside = groups == group
        if inside.any():
            yield PositionLoss(
                first=first,
                last=last,
                tokens=int(inside.sum()),
                loss=float(scores.nats[inside].mean(dtype=np.float64)),
                accuracy=float((scores.ranks[inside] == 0).mean()),
            )


def calibration(scores: TokenScores, bins: int) -> Calibration:
    """Expected calibration error and reliability in bins of equal width (Guo et al. 2017, 2)."""
    if bins < 1:
        raise InvalidOption(f"'bins' is {bins}; it must be 1 or more.", param="bins")
    chances = scores.confidences.astype(np.float64)
    places = np.clip(np.ceil(chances * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    some = np.maximum(counts, 1)
    confidence = np.bincount(places, chances, bins) / some
    accuracy = np.bincount(places, scores.ranks == 0, bins) / some
    error = float((counts * np.abs(accuracy - confidence)).sum() / len(scores))
    edges = np.linspace(0, 1, bins + 1)
    rows = (
        ReliabilityBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            tokens=int(counts[i]),
            confidence=float(confidence[i]),
            accuracy=float(accuracy[i]),
        )
        for i in range(bins)
    )
    return Calibration(expected_error=error, bins=tuple(rows))


def worst(
    text: MeasuredText, scores: TokenScores, tokenizer: Tokenizer, count: int
) -> tuple[WorstRow, ...]:
    """The rows of most nats a character, the worst first; equal ones in their order.

    A row is a document, or some lines of one text, long lines in pieces. Blank ones are left out.
    """
    starts, numbers = text.starts, np.arange(1, len(text.starts) + 1)
    if not len(starts):
        starts, numbers = _passages(text, tokenizer)
    rows = np.searchsorted(starts, scores.places, "right") - 1
    nats = np.bincount(np.maximum(rows, 0), scores.nats, len(starts))
    tokens = np.bincount(np.maximum(rows, 0), minlength=len(starts))
    stops = [*starts[1:].tolist(), len(text.ids)]

    def row(number: int) -> WorstRow:
        places = np.arange(starts[number], stops[number])
        ids, counts = text.ids[places], text.counted[places] != 0
        shown = tokenizer.decode(ids[counts])
        return WorstRow(
            number=int(numbers[number]),
            before=_shortened(tokenizer.decode(ids[~counts])),
            text=_shortened(shown),
            nats=float(nats[number]),
            tokens=int(tokens[number]),
            characters=len(shown),
        )

    made = (row(number) for number in np.flatnonzero(tokens).tolist())
    found = (each for each in made if each.text.strip())
    return tuple(heapq.nlargest(count, found, key=lambda each: each.nats_per_character))


def _passages(text: MeasuredText, tokenizer: Tokenizer) -> tuple[Positions, Positions]:
    """Where passages of one text begin, and in which of its lines, counted from 1."""
    breaks = np.array(
        ["\n" in tokenizer.token_text(token) for token in range(tokenizer.vocab_size)]
    )
    ends = np.flatnonzero(breaks[text.ids]) + 1  # of lines
    starts = [0]
    for end in [*ends.tolist(), len(text.ids)]:
        while end - starts[-1] > _LONGEST_PASSAGE:
            starts.append(starts[-1] + _LONGEST_PASSAGE)
        if end - starts[-1] >= _SHORTEST_PASSAGE and end < len(text.ids):
            starts.append(end)
    return np.array(starts), 1 + np.searchsorted(ends, starts, "right")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
