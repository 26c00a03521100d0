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
_LONGEST_ROW = 256  # tokens of a line of one text that are looked at as one
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

    A row is a document, or a line of one text, long lines in pieces.
    """
    starts = text.starts if len(text.starts) else _lines(text, tokenizer)
    rows = np.searchsorted(starts, scores.places, "right") - 1
    nats = np.bincount(np.maximum(rows, 0), scores.nats, len(starts))
    tokens = np.bincount(np.maximum(rows, 0), minlength=len(starts))
    stops = [*starts[1:].tolist(), len(text.ids)]

    def row(number: int) -> WorstRow:
        places = np.arange(starts[number], stops[number])
        ids, counts = text.ids[places], text.counted[places] != 0
        shown = tokenizer.decode(ids[counts])
        return WorstRow(
            number=number + 1,
            before=_shortened(tokenizer.decode(ids[~counts])),
            text=_shortened(shown),
            nats=float(nats[number]),
            tokens=int(tokens[number]),
            characters=len(shown),
        )

    made = (row(number) for number in np.flatnonzero(tokens).tolist())
    found = (each for each in made if each.characters)
    return tuple(heapq.nlargest(count, found, key=lambda each: each.nats_per_character))


def _lines(text: MeasuredText, tokenizer: Tokenizer) -> Positions:
    """Where lines of one text begin, and pieces of long ones."""
    ends = np.array(["\n" in tokenizer.token_text(token) for token in range(tokenizer.vocab_size)])[
        text.ids
    ]
    starts = np.append(0, np.flatnonzero(ends) + 1)
    starts = starts[starts < len(text.ids)]
    stops = np.append(starts[1:], len(text.ids))
    return np.concatenate(
        [
            np.arange(start, stop, _LONGEST_ROW)
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        ]
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
