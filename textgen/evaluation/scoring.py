"""How surprising each line or document of a text is to a model."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from textgen.bundles.bundle import Bundle
from textgen.engine.context import ContextMaker
from textgen.errors import InvalidOption
from textgen.model import Hidden, TextGenerator
from textgen.tokenizers import Ids, Tokenizer

Lead = npt.NDArray[np.int64]  # what is read before a row, at least one id
OnStep = Callable[[], None]

_ROWS = 64  # a batch
_CHUNK = 128  # tokens a forward pass
_LOGITS = 1 << 24  # at most so many at a time
_WINDOW_ROWS = 4096  # sorted by length together
_WINDOW_TOKENS = 1 << 20  # or so many tokens, whichever comes first


def _nothing() -> None:
    """Do nothing: the listener of callers who want no signs of life."""


@dataclass(frozen=True, slots=True)
class RowScore:
    """Of one row of a text under one model."""

    index: int  # of the row, from 0
    text: str
    nats: float  # minus the logarithm of the row's probability
    tokens: int
    characters: int
    most_surprising: int | None  # offset of the character that cost most; None in an empty row

    @property
    def nats_per_token(self) -> float:
        """0 for an empty row."""
        return self.nats / self.tokens if self.tokens else 0.0

    @property
    def nats_per_character(self) -> float:
        """Comparable between tokenizers; 0 for an empty row."""
        return self.nats / self.characters if self.characters else 0.0


def score_rows(
    bundle: Bundle, rows: Iterable[str], *, on_step: OnStep = _nothing
) -> Iterator[RowScore]:
    """The score of every row, in order, each as if the model read nothing else before it.

    The state is zero and the model first reads what the engine reads before an empty prompt;
    every token of the row counts, the end of a document is not one of them. Characters outside a
    closed alphabet cost what the unknown token costs. Memory does not grow with the number of
    rows. Nats a token are within 1e-5 of those of the row alone. InvalidInput for a row that
    holds half a surrogate pair. ``on_step`` is called after each forward pass, as a sign of life;
    what it raises ends the scoring.
    """
    context = ContextMaker(
        bundle.tokenizer, documents=bundle.header.documents, rows=bundle.header.rows
    )
    lead = context.make(np.empty(0, np.int64))
    window: list[tuple[str, Ids]] = []
    index = size = 0
    for row in rows:
        window.append((row, bundle.tokenizer.encode(row)))
        size += len(window[-1][1])
        if len(window) == _WINDOW_ROWS or size >= _WINDOW_TOKENS:
            yield from _score_window(bundle, window, lead, index, on_step)
            index += len(window)
            window, size = [], 0
    yield from _score_window(bundle, window, lead, index, on_step)


def worst_rows(scores: Iterable[RowScore], count: int) -> list[RowScore]:
    """The ``count`` rows of most nats a character, the worst first; equal ones in their order."""
    if count < 1:
        raise InvalidOption(f"'count' is {count}; it must be 1 or more.", param="count")
    return heapq.nlargest(count, scores, key=lambda score: score.nats_per_character)


def _score_window(
    bundle: Bundle, window: Sequence[tuple[str, Ids]], lead: Lead, index: int, on_step: OnStep
) -> Iterator[RowScore]:
    lengths = np.array([len(ids) for _, ids in window], np.int64)
    order = np.argsort(-lengths, kind="stable")
    totals, places = np.zeros(len(window)), np.zeros(len(window), np.int64)
    for begin in range(0, len(window), _ROWS):
        batch = order[begin : begin + _ROWS]
        totals[batch], places[batch] = _score_batch(
            bundle.model, [window[row][1] for row in batch], lead, on_step
        )
    for row, (text, ids) in enumerate(window):
        place = _characters_before(bundle.tokenizer, ids, int(places[row])) if len(ids) else None
        yield RowScore(index + row, text, float(totals[row]), len(ids), len(text), place)


@torch.inference_mode()
def _score_batch(
    model: TextGenerator, rows: Sequence[Ids], lead: Lead, on_step: OnStep
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Nats (B,) and the dearest token's place (B,) of rows that come longest first.

    Each row follows ``lead``.
    """
    device = next(model.parameters()).device
    lengths = np.array([len(row) for row in rows], np.int64)
    totals, dearest = np.zeros(len(rows)), np.full(len(rows), -np.inf)
    places = np.zeros(len(rows), np.int64)
    chunk = max(1, min(_CHUNK, _LOGITS // (len(rows) * model.vocab_size)))
    hidden: Hidden | None = None
    was_training = model.training
    model.eval()
    try:
        if len(lead) > 1:
            before = torch.from_numpy(lead[None, :-1].repeat(len(rows), 0)).to(device)
            _, hidden = model.features(before)
        for begin in range(0, int(lengths[0]), chunk):
            width = min(chunk, int(lengths[0]) - begin)
            left = int(np.count_nonzero(lengths > begin))  # rows that are not finished
            ids = np.full((left, width + 1), lead[-1], np.int64)  # inputs, and targets one further
            for row in range(left):
                part = rows[row][max(begin - 1, 0) : begin + width]
                skipped = 1 if begin == 0 else 0
                ids[row, skipped : skipped + len(part)] = part
            both = torch.from_numpy(ids).to(device)
            if hidden is not None:
                h, c = hidden
                hidden = h[:, :left].contiguous(), c[:, :left].contiguous()
            logits, hidden = model(both[:, :-1], hidden)  # (B, T, V)
            losses = functional.cross_entropy(
                logits.transpose(1, 2), both[:, 1:], reduction="none"
            )  # (B, T)
            nats = losses.double().cpu().numpy()
            inside = np.arange(begin, begin + width)[None] < lengths[:left, None]
            totals[:left] += np.where(inside, nats, 0.0).sum(1)
            here = np.where(inside, nats, -np.inf)
            place, cost = here.argmax(1), here.max(1)
            dearer = cost > dearest[:left]
            places[:left][dearer] = begin + place[dearer]
            dearest[:left][dearer] = cost[dearer]
            on_step()
    finally:
        model.train(was_training)
    return totals, places


def _characters_before(tokenizer: Tokenizer, ids: Ids, place: int) -> int:
    """How many characters are complete before the token at ``place``."""
    decoder = tokenizer.decoder()
    return sum(len(decoder.push(token)) for token in ids[:place].tolist())
