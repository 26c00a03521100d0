"""The rows of a batch, shared among the objectives of a training and the texts it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

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
from textgen.training.sampled_classes import SampledClasses
from textgen.training.streams import Batch, Beginnings, Streams, TextStreams
from textgen.training.tasks import TaskStreams


@dataclass(frozen=True, slots=True)
class Part:
    """One objective on one text: its share of the loss, its rows of the batch, what they read."""

    name: ObjectiveName
    weight: float
    rows: slice
    streams: Streams
    choices: Tensor | None = None  # the only ids that its targets can be, ascending; None: any
    replayed: bool = False  # whether the text is that which the model learnt before

    @property
    def label(self) -> str:
        """What its loss is called."""
        return _label(self.name, self.replayed)


class Mixture:
    """Batches with rows for every part, in their order; the parts' weights sum to 1."""

    def __init__(self, parts: Sequence[Part], classes: SampledClasses | None = None) -> None:
        self.parts = tuple(parts)
        self.classes = classes  # None: every step computes the softmax over all symbols

    @property
    def share(self) -> Fraction:
        """How much of one pass over the new text a step is."""
        return sum((each.streams.share for each in self.parts if not each.replayed), Fraction(0))

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


def make_mixture(plan: Plan, corpus: EncodedCorpus, replay: EncodedCorpus | None = None) -> Mixture:
    """What a training of ``plan`` reads; ``replay`` is the text of an earlier one, to be kept.

    Labels are learnt of the new text alone. InvalidOption where a text has no task of a kind, or
    the batch too few rows.
    """
    texts = [(corpus, 1 - plan.replay_fraction, plan.objectives)]
    if replay is not None:
        texts.append((replay, plan.replay_fraction, without_labels(plan.objectives)))
    weights = {
        _label(name, text is replay): weight / sum(objectives.values()) * share
        for text, share, objectives in texts
        for name, weight in objectives.items()
    }
    rows = share_rows(plan.batch_size, weights)
    parts: list[Part] = []
    first = 0
    for text, _, objectives in texts:
        for name in objectives:
            label = _label(name, text is replay)
            streams = _streams(name, text, rows[label], plan)
            choices = torch.tensor(sorted(text.label_ids)) if name == "classify" else None
            place = slice(first, first + rows[label])
            parts.append(Part(name, weights[label], place, streams, choices, text is replay))
            first = place.stop
    classes = None
    if plan.sampled_classes:
        tokens = corpus.tokens("train")
        classes = SampledClasses(tokens, plan.vocab_size, plan.sampled_classes, plan.seed)
    return Mixture(parts, classes)


def without_labels(objectives: Mapping[ObjectiveName, float]) -> dict[ObjectiveName, float]:
    """Those that can be learnt of an old text too."""
    return {name: weight for name, weight in objectives.items() if name != "classify"}


def _streams(name: ObjectiveName, corpus: EncodedCorpus, rows: int, plan: Plan) -> Streams:
    """``rows`` rows of one objective on one text."""
    tokens, length = corpus.tokens("train"), plan.sequence_length
    end_id = corpus.tokenizer.end_id
    if name == "causal":
        beginnings = None
        if corpus.documents:
            reply_id = corpus.tokenizer.special_ids.get("assistant")
            beginnings = Beginnings(end_id, plan.beginnings, plan.seed, reply_id)
        return TextStreams(tokens, rows, length, corpus.counted("train"), beginnings)
    if name == "classify":
        texts = LabelledTexts(corpus, "train")
        return LabelStreams(texts, corpus.label_ids, rows, length, end_id, plan.seed)
    passages = Passages(tokens, corpus.tokenizer, documents=corpus.documents)
    objective = OBJECTIVES[name](corpus.tokenizer)
    if next(examples(objective, passages, np.random.default_rng(plan.seed)), None) is None:
        raise InvalidOption(
            f"'objectives' has {name!r}, but no task of that kind can be made of this "
            "text: its lines, documents or sentences are too short, or it has none. "
            "Leave it out, or give a text with whole sentences.",
            param="objectives",
        )
    return TaskStreams(objective, passages, rows, length, plan.seed)


def _label(name: ObjectiveName, replayed: bool) -> str:
    if not replayed:
        return name
    return "replay" if name == "causal" else f"replay_{name}"


def share_rows(batch_size: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Rows for each part, at least one, else by its weight.

    InvalidOption where there are fewer rows than parts.
    """
    if batch_size < len(weights):
        raise InvalidOption(
            f"'batch_size' is {batch_size}, too few rows for {len(weights)} parts: "
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
