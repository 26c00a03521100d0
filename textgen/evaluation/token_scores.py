"""What every token of a text costs a model, from one reading: what most figures are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from textgen.evaluation.measures import Flags, predictions
from textgen.model import TextGenerator
from textgen.tokenizers import Ids

_STREAMS = 32


@dataclass(frozen=True)
class TokenScores:
    """Of the N tokens that count, in the order of the text."""

    places: npt.NDArray[np.int64]  # (N,) of the tokens in the text, from 1: the first has none
    nats: npt.NDArray[np.float32]  # (N,)
    ranks: npt.NDArray[np.int32]  # (N,) 0 for the likeliest; equals stand before it
    confidences: npt.NDArray[np.float32]  # (N,) the chance of the likeliest token

    def __len__(self) -> int:
        return len(self.places)


def score_tokens(
    model: TextGenerator,
    tokens: Ids,
    counted: Flags,
    *,
    streams: int = _STREAMS,
    on_chunk: Callable[[], None] = lambda: None,
) -> TokenScores:
    """Predict every token that counts once, the state carried along as in ``measures.evaluate``.

    ``on_chunk`` is called now and then. 16 bytes of memory a token.
    """
    nats = np.zeros(tokens.size, np.float32)
    ranks = np.zeros(tokens.size, np.int32)
    confidences = np.zeros(tokens.size, np.float32)
    for logits, targets, here, places in predictions(model, tokens, streams, counted):
        on_chunk()
        scores = torch.log_softmax(logits[here], -1)  # (M, V)
        own = scores.gather(-1, targets[here][:, None])  # (M, 1)
        nats[places] = -own[:, 0].cpu().numpy()
        ranks[places] = ((scores >= own).sum(-1) - 1).cpu().numpy()
        confidences[places] = scores.amax(-1).exp().cpu().numpy()
    kept = 1 + np.flatnonzero(counted[1 : tokens.size])
    return TokenScores(kept, nats[kept], ranks[kept], confidences[kept])
