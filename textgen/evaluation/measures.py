"""How well a model predicts a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from textgen.errors import InvalidCorpus
from textgen.model import Hidden, TextGenerator
from textgen.tokenizers import Ids

Flags = npt.NDArray[np.uint8]

_STREAMS = 32
_CHUNK = 128  # tokens a forward pass
_CONTEXT = 256  # tokens that a stream reads before the first that counts
_LOGITS = 1 << 24  # at most so many at a time
_COOLER = 0.8


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of one model on one text."""

    loss: float  # nats per token
    accuracy: float  # share of tokens that were the likeliest
    tokens: int  # predicted
    characters: float  # in those tokens

    @property
    def perplexity(self) -> float:
        """Of tokens: e to the loss; infinite where that is out of range."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def bits_per_character(self) -> float:
        """The loss in bits, shared among the characters: comparable between tokenizers."""
        return self.loss * self.tokens / (self.characters * math.log(2))


def evaluate(
    model: TextGenerator,
    tokens: Ids,
    *,
    characters_per_token: float = 1.0,
    streams: int = _STREAMS,
    counted: Flags | None = None,
    on_chunk: Callable[[], None] = lambda: None,
) -> Metrics:
    """Predict every token of ``tokens`` but the first, once, the state carried along.

    The text is read as several streams at once; each begins with the tokens before its own, so
    that the result is nearly that of one stream (and exactly so with ``streams=1``). With
    ``counted`` (at least as long as ``tokens``) only the tokens where it is not 0 count.
    ``on_chunk`` is called now and then.
    """
    count = int(tokens.size) - 1
    if counted is not None:
        count = int(np.count_nonzero(counted[1 : tokens.size]))
    if count < 1:
        raise InvalidCorpus(
            f"A text of {tokens.size} tokens cannot be evaluated; at least 2 are needed, and one "
            "that counts after the first.",
            code="corpus_too_small",
        )
    loss, right = 0.0, 0
    for logits, targets, here, _ in predictions(model, tokens, streams, counted):
        on_chunk()
        loss += _summed_loss(logits[here], targets[here])
        right += int((logits[here].argmax(-1) == targets[here]).sum().item())
    return Metrics(loss / count, right / count, count, count * characters_per_token)


def tune_temperature(model: TextGenerator, tokens: Ids, counted: Flags | None = None) -> float:
    """The temperature for generating: 0.8 of the one at which ``tokens`` are likeliest.

    ``counted`` is that of ``evaluate``; memory does not grow with the text. Dividing logits by
    the best temperature undoes over- or under-confidence (Guo et al. 2017); readers like text
    somewhat more predictable than that, so the factor.
    """
    candidates = np.geomspace(0.5, 2.0, 41)
    losses = np.zeros(len(candidates))
    for logits, targets, here, _ in predictions(model, tokens, _STREAMS, counted):
        own, wanted = logits[here], targets[here]
        losses += [_summed_loss(own / float(each), wanted) for each in candidates]
    return round(float(candidates[int(np.argmin(losses))]) * _COOLER, 2)


@torch.inference_mode()
def predictions(
    model: TextGenerator, tokens: Ids, streams: int, wanted: Flags | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor, npt.NDArray[np.int64]]]:
    """Chunk by chunk logits (B, T, V), targets (B, T), and which of them count (B, T).

    The last is where in ``tokens`` the targets are that count, (N,), row by row.
    """
    count = int(tokens.size) - 1  # predictions to make
    streams = max(1, min(streams, count // _CONTEXT))
    length = -(-count // streams)  # a stream, the last may be shorter
    context = _CONTEXT if streams > 1 else 0
    chunk = max(1, min(_CHUNK, _LOGITS // (streams * model.vocab_size)))
    device = next(model.parameters()).device
    starts = (np.arange(streams) * length)[:, None]
    was_training = model.training
    model.eval()
    hidden: Hidden | None = None
    try:
        for begin, end in pairwise([*range(-context, 0, chunk), *range(0, length, chunk), length]):
            offsets = np.arange(begin, end)[None]
            places = starts + offsets  # (B, T), of the inputs; below 0 and past the end: unused
            inside = np.clip(places, 0, count - 1)
            x, y = (_ids(tokens, inside + shift, device) for shift in (0, 1))
            if begin == 0:
                hidden = _forget_first(hidden)
            logits, hidden = model(x, hidden)
            counted = (offsets >= 0) & (places < count)
            if wanted is not None:
                counted &= wanted[inside + 1] != 0
            yield logits, y, torch.from_numpy(counted).to(device), places[counted] + 1
    finally:
        model.train(was_training)


def _summed_loss(logits: Tensor, targets: Tensor) -> float:
    """Of (N, V) and (N,), in nats; summed in float64, so that it is as exact for a long text."""
    return functional.cross_entropy(logits, targets, reduction="none").double().sum().item()


def _forget_first(hidden: Hidden | None) -> Hidden | None:
    """The first stream has nothing before it: it starts from zeros."""
    if hidden is None:
        return None
    h, c = (state.clone() for state in hidden)
    h[:, 0] = 0
    c[:, 0] = 0
    return h, c


def _ids(
    tokens: Ids, places: np.ndarray[tuple[int, ...], np.dtype[np.int64]], device: torch.device
) -> Tensor:
    return torch.from_numpy(tokens[places].astype(np.int64)).to(device)
