"""How far back a model makes use of what it read."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from textgen.errors import InvalidCorpus, InvalidOption
from textgen.evaluation.measures import Flags
from textgen.evaluation.report import ContextLoss
from textgen.model import Hidden, TextGenerator
from textgen.tokenizers import Ids

_ROWS = 32  # segments at a time
_CHUNK = 128  # tokens a forward pass
_LOGITS = 1 << 24  # at most so many at a time


@torch.inference_mode()
def loss_by_context(
    model: TextGenerator,
    tokens: Ids,
    *,
    longest: int = 512,
    counted: Flags | None = None,
    on_segments: Callable[[], None] = lambda: None,
) -> tuple[ContextLoss, ...]:
    """The loss with 1, 2, 3 to 4, 5 to 8 and so on up to ``longest`` tokens of context.

    ``tokens`` is cut into segments of ``longest`` predictions, the state is zero where one
    begins, and position p within it is predicted from p + 1 tokens; every length is measured
    on as many places of the text, of which with ``counted`` (N,) only those that are not 0
    count, and a length of which none does is left out. What is left over at the end, less than a
    segment, is not used. Ends of documents are tokens like others. ``longest`` is a power of two.
    ``on_segments`` is called now and then. InvalidCorpus where ``tokens`` has no whole segment.
    """
    if longest < 1 or longest & (longest - 1):
        raise InvalidOption(
            f"'longest' is {longest}; it must be a power of two, such as 512.", param="longest"
        )
    if tokens.size <= longest:
        raise InvalidCorpus(
            f"A text of {tokens.size} tokens has no segment of 'longest' = {longest}; at least "
            f"{longest + 1} tokens are needed. Give a smaller 'longest' or more text.",
            code="corpus_too_small",
            param="longest",
        )
    device = next(model.parameters()).device
    count = (tokens.size - 1) // longest  # segments; one's last target is the next one's first
    sums, sizes = np.zeros(longest), np.zeros(longest, np.int64)  # nats, tokens by position
    chunk = max(1, min(_CHUNK, _LOGITS // (min(_ROWS, count) * model.vocab_size)))
    was_training = model.training
    model.eval()
    try:
        for begin in range(0, count, _ROWS):
            starts = np.arange(begin, min(begin + _ROWS, count))[:, None] * longest  # (B, 1)
            hidden: Hidden | None = None
            for place in range(0, longest, chunk):
                on_segments()
                end = min(place + chunk, longest)
                places = starts + np.arange(place, end + 1)
                ids = tokens[places].astype(np.int64)
                both = torch.from_numpy(ids).to(device)  # inputs, and targets one further
                logits, hidden = model(both[:, :-1], hidden)  # (B, T, V)
                losses = functional.cross_entropy(
                    logits.transpose(1, 2), both[:, 1:], reduction="none"
                )  # (B, T)
                here = np.ones_like(places[:, 1:]) if counted is None else counted[places[:, 1:]]
                sums[place:end] += (losses.double().cpu().numpy() * here).sum(0)
                sizes[place:end] += here.sum(0, dtype=np.int64)
    finally:
        model.train(was_training)
    edges = [0, *(2**power for power in range(longest.bit_length()))]  # 0, 1, 2, 4, 8 …
    return tuple(
        ContextLoss(
            fewest=low + 1,
            most=high,
            loss=float(sums[low:high].sum() / sizes[low:high].sum()),
            tokens=int(sizes[low:high].sum()),
        )
        for low, high in itertools.pairwise(edges)
        if sizes[low:high].any()
    )
