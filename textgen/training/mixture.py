"""The rows of a batch, shared among the objectives of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.labelled import LabelledTexts
from textgen.errors import InvalidOption
from textgen.objectives import OBJECTIVES, Passages, examples
from textgen.options import ObjectiveName
from textgen.plan import Plan
from textgen.training.label_streams import LabelStreams
from textgen.training.streams import Batch, Streams, TextStreams
from textgen.training.tasks import TaskStreams


@dataclass(frozen=True, slots=True)
class Part:
    """One objective: its share of the loss, its rows of the batch and what they read."""

    name: ObjectiveName
    weight: float
    rows: slice
    streams: Streams
    choices: Tensor | None = None  # the only ids that its targets can be, ascending; None: any


class Mixture:
    """Batches with rows for every part, in their order; the parts' weights sum to 1."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)

    def batch(self, step: int) -> Batch:
        """What step ``step``, counted from 0, reads."""
        batches = [part.streams.batch(step) for part in self.parts]
        if len(batches) == 1:
            return batches[0]
        return Batch(
            torch.cat([batch.inputs for batch in batches]),
            torch.cat([batch.targets for batch in batches]),
            _fresh(batches),
        )


def _fresh(batches: Sequence[Batch]) -> Tensor | None:
    if all(batch.fresh is None for batch in batches):
        return None
    return torch.cat(
        [
            torch.zeros(len(batch.inputs), dtype=torch.bool) if batch.fresh is None else batch.fresh
            for batch in batches
        ]
    )


def make_mixture(plan: Plan, corpus: EncodedCorpus) -> Mixture:
    """What a training of ``plan`` reads. InvalidOption where the text has no task of a kind."""
    tokens, tokenizer = corpus.tokens("train"), corpus.tokenizer
    passages = Passages(tokens, tokenizer, documents=corpus.documents)
    total = sum(plan.objectives.values())
    parts: list[Part] = []
    first = 0
    for name, count in share_rows(plan.batch_size, plan.objectives).items():
        streams: Streams
        choices: Tensor | None = None
        if name == "causal":
            streams = TextStreams(tokens, count, plan.sequence_length, corpus.counted("train"))
        elif name == "classify":
            texts, ids = LabelledTexts(corpus, "train"), corpus.label_ids
            streams = LabelStreams(
                texts, ids, count, plan.sequence_length, tokenizer.end_id, plan.seed
            )
            choices = torch.tensor(sorted(ids))
        else:
            objective = OBJECTIVES[name](tokenizer)
            if next(examples(objective, passages, np.random.default_rng(plan.seed)), None) is None:
                raise InvalidOption(
                    f"'objectives' has {name!r}, but no task of that kind can be made of this "
                    "text: its lines, documents or sentences are too short, or it has none. "
                    "Leave it out, or give a text with whole sentences.",
                    param="objectives",
                )
            streams = TaskStreams(objective, passages, count, plan.sequence_length, plan.seed)
        share = plan.objectives[name] / total
        parts.append(Part(name, share, slice(first, first + count), streams, choices))
        first += count
    return Mixture(parts)


def share_rows(batch_size: int, weights: Mapping[ObjectiveName, float]) -> dict[ObjectiveName, int]:
    """Rows for each objective, at least one, else by its weight.

    InvalidOption where there are fewer rows than objectives.
    """
    if batch_size < len(weights):
        raise InvalidOption(
            f"'batch_size' is {batch_size}, too few rows for {len(weights)} objectives: "
            f"{', '.join(weights)}. Give at least {len(weights)}, or fewer objectives.",
            param="batch_size",
        )
    total = sum(weights.values())
    rows = {name: max(1, int(batch_size * weight / total)) for name, weight in weights.items()}
    while sum(rows.values()) != batch_size:
        step = 1 if sum(rows.values()) < batch_size else -1
        movable = [name for name in rows if step > 0 or rows[name] > 1]
        lack = {name: batch_size * weights[name] / total - rows[name] for name in movable}
        rows[max(lack, key=lambda name: step * lack[name])] += step
    return rows
