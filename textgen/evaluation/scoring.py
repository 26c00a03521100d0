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
from textgen.corpus.documents import Dialogue, Document, text_of
from textgen.corpus.id_writer import encode_parts
from textgen.engine.context import ContextMaker
from textgen.errors import InvalidOption
from textgen.model import Hidden, TextGenerator
from textgen.tokenizers import Tokenizer

OnStep = Callable[[], None]

_ROWS = 64  # a batch
_CHUNK = 128  # tokens a forward pass
_LOGITS = 1 << 24  # at most so many at a time
_WINDOW_ROWS = 4096  # sorted by length together
_WINDOW_TOKENS = 1 << 20  # or so many tokens, whichever comes first


def _nothing() -> None:
    """Do nothing: the listener of callers who want no signs of life."""


@dataclass(frozen=True, slots=True)
class _Row:
    """``counted`` says of each id whether predicting it counts; never of the first."""

    text: str
    ids: npt.NDArray[np.int64]  # (N,), at least one
    counted: npt.NDArray[np.bool_]  # (N,)


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
    reader = _RowReader(bundle)
    scored = _scored(bundle.model, map(reader.row, rows), on_step)
    for index, (row, nats, place) in enumerate(scored):
        ids = row.ids[row.counted]
        before = None
        if len(ids):
            before = _characters_before(bundle.tokenizer, ids, place - len(row.ids) + len(ids))
        yield RowScore(index, row.text, nats, len(ids), len(row.text), before)


def score_documents(
    bundle: Bundle, documents: Iterable[Document], *, on_step: OnStep = _nothing
) -> Iterator[float]:
    """The nats of what counts in each document, in order, as ``score_rows`` has those of texts.

    Of turns that is what the loss of training counts, each with its end. ``on_step`` is that of
    ``score_rows``.
    """
    reader = _RowReader(bundle)
    for _, nats, _ in _scored(bundle.model, map(reader.document, documents), on_step):
        yield nats


def worst_rows(scores: Iterable[RowScore], count: int) -> list[RowScore]:
    """The ``count`` rows of most nats a character, the worst first; equal ones in their order."""
    if count < 1:
        raise InvalidOption(f"'count' is {count}; it must be 1 or more.", param="count")
    return heapq.nlargest(count, scores, key=lambda score: score.nats_per_character)


class _RowReader:
    """Texts and documents as what a model reads from its first state on."""

    def __init__(self, bundle: Bundle) -> None:
        context = ContextMaker(
            bundle.tokenizer, documents=bundle.header.documents, rows=bundle.header.rows
        )
        self._tokenizer = bundle.tokenizer
        self._lead = context.make(np.empty(0, np.int64))

    def row(self, text: str) -> _Row:
        """All of the text counts."""
        ids = np.concatenate([self._lead, self._tokenizer.encode(text).astype(np.int64)])
        return _Row(text, ids, np.arange(len(ids)) >= len(self._lead))

    def document(self, document: Document) -> _Row:
        """Of turns those that are to be learnt count."""
        if not isinstance(document, Dialogue):
            return self.row(text_of(document))
        parts = encode_parts(document, self._tokenizer)
        end = np.array([self._tokenizer.end_id], np.int64)
        ids = np.concatenate([end, *(part.astype(np.int64) for part, _, _ in parts)])
        flags = [np.zeros(1, bool), *(np.full(len(part), flag) for part, _, flag in parts)]
        return _Row(document.text, ids, np.concatenate(flags))


def _scored(
    model: TextGenerator, rows: Iterable[_Row], on_step: OnStep = _nothing
) -> Iterator[tuple[_Row, float, int]]:
    """Every row with the nats of what counts, and the place of the dearest token."""
    window: list[_Row] = []
    size = 0
    for row in rows:
        window.append(row)
        size += len(row.ids)
        if len(window) == _WINDOW_ROWS or size >= _WINDOW_TOKENS:
            yield from _score_window(model, window, on_step)
            window, size = [], 0
    yield from _score_window(model, window, on_step)


def _score_window(
    model: TextGenerator, window: Sequence[_Row], on_step: OnStep
) -> Iterator[tuple[_Row, float, int]]:
    lengths = np.array([len(row.ids) for row in window], np.int64)
    order = np.argsort(-lengths, kind="stable")
    totals, places = np.zeros(len(window)), np.zeros(len(window), np.int64)
    for begin in range(0, len(window), _ROWS):
        batch = order[begin : begin + _ROWS]
        some = [window[row] for row in batch]
        totals[batch], places[batch] = _score_batch(model, some, on_step)
    yield from zip(window, totals.tolist(), places.tolist(), strict=True)


@torch.inference_mode()
def _score_batch(
    model: TextGenerator, rows: Sequence[_Row], on_step: OnStep
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Nats (B,) and the dearest token's place (B,) of rows that come longest first."""
    device = next(model.parameters()).device
    lengths = np.array([len(row.ids) - 1 for row in rows], np.int64)  # predictions
    totals, dearest = np.zeros(len(rows)), np.full(len(rows), -np.inf)
    places = np.zeros(len(rows), np.int64)
    chunk = max(1, min(_CHUNK, _LOGITS // (len(rows) * model.vocab_size)))
    hidden: Hidden | None = None
    was_training = model.training
    model.eval()
    try:
        for begin in range(0, int(lengths[0]), chunk):
            width = min(chunk, int(lengths[0]) - begin)
            left = int(np.count_nonzero(lengths > begin))  # rows that are not finished
            ids = np.zeros((left, width + 1), np.int64)  # inputs, and targets one further
            counted = np.zeros((left, width), bool)
            for row, each in enumerate(rows[:left]):
                part = each.ids[begin : begin + width + 1]
                ids[row, : len(part)] = part
                counted[row, : len(part) - 1] = each.counted[begin + 1 : begin + width + 1]
            both = torch.from_numpy(ids).to(device)
            if hidden is not None:
                h, c = hidden
                hidden = h[:, :left].contiguous(), c[:, :left].contiguous()
            logits, hidden = model(both[:, :-1], hidden)  # (B, T, V)
            losses = functional.cross_entropy(
                logits.transpose(1, 2), both[:, 1:], reduction="none"
            )  # (B, T)
            nats = losses.double().cpu().numpy()
            totals[:left] += np.where(counted, nats, 0.0).sum(1)
            here = np.where(counted, nats, -np.inf)
            place, cost = here.argmax(1), here.max(1)
            dearer = cost > dearest[:left]
            places[:left][dearer] = begin + 1 + place[dearer]
            dearest[:left][dearer] = cost[dearer]
            on_step()
    finally:
        model.train(was_training)
    return totals, places


def _characters_before(tokenizer: Tokenizer, ids: npt.NDArray[np.int64], place: int) -> int:
    """How many characters are complete before the token at ``place``."""
    decoder = tokenizer.decoder()
    return sum(len(decoder.push(token)) for token in ids[:place].tolist())
