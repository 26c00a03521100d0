"""What int8 weights cost: how much worse they predict, in nats a token.

Of a model's own validation text that is the difference of two losses on the same tokens; where
there is no text, it is the divergence of the two predictions (Kullback-Leibler) on texts that the
float32 model draws: what the loss would grow by, were those texts what the model is made for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.library import load
from textgen.engine.kernels.native import NativeKernel
from textgen.engine.rows import Rows
from textgen.model import TextGenerator

LARGEST_LOSS = 0.01  # nats a token that int8 may cost
METRIC = "int8_loss_difference"  # its name among a bundle's metrics
_STREAMS = 32
_STEPS = 128


def int8_loss_difference(
    model: TextGenerator, ids: npt.NDArray[np.integer[Any]] | None = None
) -> float | None:
    """Nats a token that int8 weights lose, on the first of ``ids`` or on drawn text.

    Up to 32 streams of 128 tokens: 0.1 to 0.5 s for 2×512. None where this machine or the model's
    device has no native kernel, or for fewer than two ids.
    """
    library = load() if model.embedding.weight.device.type == "cpu" else None
    if library is None or (ids is not None and len(ids) < 2):
        return None
    folded, threads = FoldedModel(model), torch.get_num_threads()
    exact, short = (
        NativeKernel(folded, library, threads, weights).rows(_STREAMS)
        for weights in ("float32", "int8")
    )
    with torch.inference_mode():
        differences = _drawn(exact, short) if ids is None else _given(exact, short, ids)
        return float(torch.cat(list(differences)).mean())


def _given(exact: Rows, short: Rows, ids: npt.NDArray[np.integer[Any]]) -> Iterator[Tensor]:
    """By token of the text, cut into streams that lie one behind the other."""
    count = min(_STREAMS, len(ids) // 2)
    steps = min(_STEPS, (len(ids) - 1) // count)
    begins = np.arange(count) * ((len(ids) - 1) // count)
    places = begins + np.arange(steps + 1)[:, None]  # (T + 1, streams)
    text = torch.from_numpy(ids[places].astype(np.int64))
    for inputs, targets in pairwise(text):
        before, after = _predictions(exact, short, inputs)
        rows = torch.arange(count)
        yield before[rows, targets] - after[rows, targets]


def _drawn(exact: Rows, short: Rows) -> Iterator[Tensor]:
    """By step of text that the exact model draws."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = int(exact.step(1)[0].isfinite().sum())
    exact.set(0, None, 0)
    inputs = torch.randint(0, vocabulary, (_STREAMS,), generator=generator)
    for _ in range(_STEPS):
        before, after = _predictions(exact, short, inputs)
        chances = before.exp()
        yield (chances * (before - after).nan_to_num()).sum(1)
        inputs = torch.multinomial(chances, 1, generator=generator)[:, 0]


def _predictions(exact: Rows, short: Rows, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probabilities (streams, columns) of what follows, by both."""
    results = []
    for rows in (exact, short):
        rows.state.tokens[: len(inputs)] = inputs
        results.append(rows.step(len(inputs)).log_softmax(1))
    return results[0], results[1]
