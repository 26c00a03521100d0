"""Which class a text belongs to, by a model that has learnt labels.

A text is read as in training: from a state of zeros an end, the text, the mark ``answer``. The
chances are the softmax of the output's rows for the labels' marks, and of these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from textgen.bundles.bundle import Bundle
from textgen.engine.context import ContextMaker, label_ids, not_a_classifier
from textgen.model import Hidden, TextGenerator

Chances = npt.NDArray[np.float64]
TokenIds = npt.NDArray[np.int64]

_ROWS = 64  # a batch
_CHUNK = 128  # tokens a forward pass
_WINDOW_ROWS = 1024  # sorted by length together
_WINDOW_CHARACTERS = 1 << 20  # or so many characters, whichever comes first


@dataclass(frozen=True, slots=True)
class Classification:
    """What a model says of one text."""

    label: str  # the likeliest
    probability: float  # of it
    probabilities: dict[str, float]  # of every label, the likeliest first


def classify(
    bundle: Bundle, texts: Iterable[str], *, on_chunk: Callable[[], None] = lambda: None
) -> Iterator[Classification]:
    """The class of every text, in their order; memory does not grow with their number.

    Chances are within 1e-5 of those of the text alone. InvalidOption ``not_a_classifier`` where
    the model has learnt no labels, InvalidInput for a text that holds half a surrogate pair.
    ``on_chunk`` is called now and then.
    """
    labels = bundle.header.labels
    context = ContextMaker(bundle.tokenizer, documents=True, labels=labels)
    if not labels:
        raise not_a_classifier()
    return _classified(bundle, iter(texts), context, on_chunk)


def _classified(
    bundle: Bundle, texts: Iterator[str], context: ContextMaker, on_chunk: Callable[[], None]
) -> Iterator[Classification]:
    labels = bundle.header.labels
    choices = label_ids(bundle.tokenizer, labels)
    while window := _window(texts):
        rows = [context.classification(bundle.tokenizer.encode(text)) for text in window]
        for scores in label_scores(bundle.model, rows, choices, on_chunk=on_chunk):
            yield _named(np.exp(scores), labels)


def _window(texts: Iterator[str]) -> list[str]:
    window, size = list[str](), 0
    for text in islice(texts, _WINDOW_ROWS):
        window.append(text)
        size += len(text)
        if size >= _WINDOW_CHARACTERS:
            break
    return window


def _named(chances: Chances, labels: Sequence[str]) -> Classification:
    order = np.argsort(-chances, kind="stable").tolist()
    named = {labels[place]: float(chances[place]) for place in order}
    return Classification(labels[order[0]], float(chances[order[0]]), named)


def label_scores(
    model: TextGenerator,
    rows: Sequence[TokenIds],
    choices: Sequence[int],
    *,
    on_chunk: Callable[[], None] = lambda: None,
) -> Chances:
    """The logarithms (N, C) of the chances of ``choices`` after each of N rows of ids.

    Each row has at least one id and is read from a state of zeros. ``on_chunk`` is called now and
    then.
    """
    lengths = np.array([len(row) for row in rows], np.int64)
    order = np.argsort(-lengths, kind="stable")
    scores = np.zeros((len(rows), len(choices)))
    for begin in range(0, len(rows), _ROWS):
        batch = order[begin : begin + _ROWS]
        scores[batch] = _score_batch(model, [rows[row] for row in batch], choices, on_chunk)
    return scores


@torch.inference_mode()
def _score_batch(
    model: TextGenerator,
    rows: Sequence[TokenIds],
    choices: Sequence[int],
    on_chunk: Callable[[], None],
) -> Chances:
    """``label_scores`` of rows that come longest first; a row that has ended is read no further."""
    device = next(model.parameters()).device
    lengths = np.array([len(row) for row in rows], np.int64)
    last = torch.zeros(len(rows), model.output.in_features, device=device)
    hidden: Hidden | None = None
    was_training = model.training
    model.eval()
    try:
        for begin in range(0, int(lengths[0]), _CHUNK):
            on_chunk()
            left = int(np.count_nonzero(lengths > begin))
            width = min(_CHUNK, int(lengths[0]) - begin)
            ids = np.zeros((left, width), np.int64)
            for row in range(left):
                part = rows[row][begin : begin + width]
                ids[row, : len(part)] = part
            if hidden is not None:
                h, c = hidden
                hidden = h[:, :left].contiguous(), c[:, :left].contiguous()
            features, hidden = model.features(torch.from_numpy(ids).to(device), hidden)
            ending = np.flatnonzero(lengths[:left] <= begin + width)
            last[ending] = features[ending, lengths[ending] - 1 - begin]  # of (B, T, H)
    finally:
        model.train(was_training)
    return _log_chances(model, last, choices)


def _log_chances(model: TextGenerator, features: Tensor, choices: Sequence[int]) -> Chances:
    places = torch.tensor(choices, device=features.device)
    logits = functional.linear(features, model.output.weight[places], model.output.bias[places])
    found: Chances = torch.log_softmax(logits.double(), -1).cpu().numpy()
    return found
