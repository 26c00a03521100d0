"""Measuring a model on the parts of the corpus that it did not learn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.splits import SplitName
from textgen.evaluation.classes import ClassMetrics, evaluate_part
from textgen.evaluation.measures import Flags, Metrics, evaluate
from textgen.evaluation.tasks import TaskMetrics, evaluate_tasks, sample_tasks
from textgen.model import TextGenerator
from textgen.numerics import use_kernel
from textgen.objectives import OBJECTIVES, Passages
from textgen.options import ObjectiveName
from textgen.plan import Plan
from textgen.tokenizers import Ids

_SHARE = 0.015  # of all training tokens, each time; twenty times make a tenth of the training time
_FEWEST = 4096
_TASKS, _FEW_TASKS = 1024, 128
_FEW_TEXTS = 512
_CONTEXT = 256  # ids that are read before the first that counts
_BLOCK = 1 << 20  # ids looked at together


@dataclass(frozen=True, slots=True)
class Validation:
    """What was measured on a part of the corpus.

    ``loss`` is what training minimises: the objectives' losses by their weights, nats per token.
    ``text`` is there where the model learns to predict the text as it stands, ``tasks`` for each
    of the other objectives, ``classes`` where it learns labels.
    """

    loss: float
    text: Metrics | None
    tasks: Mapping[ObjectiveName, TaskMetrics]
    classes: ClassMetrics | None = None

    def named(self, prefix: str) -> dict[str, float | None]:
        """The figures under the names that events and bundles use."""
        figures: dict[str, float | None] = {f"{prefix}_loss": self.loss}
        if self.text is not None:
            figures |= named(self.text, prefix)
        for name, tasks in self.tasks.items():
            figures[f"{prefix}_{name}_loss"] = tasks.loss
            figures[f"{prefix}_{name}_mean_token_accuracy"] = tasks.accuracy
        if self.classes is not None:
            figures |= self.classes.named(prefix)
        return figures


def validate(
    model: TextGenerator,
    corpus: EncodedCorpus,
    plan: Plan,
    split: SplitName,
    *,
    whole: bool,
    on_chunk: Callable[[], None] = lambda: None,
) -> Validation | None:
    """How well ``model`` does what the plan has it learn, on a part of the corpus.

    None where the part is empty. Unless ``whole``, a long part is cut to a length that suits the
    training's, and tasks are few. ``on_chunk`` is called now and then.
    """
    tokens, sizes = corpus.tokens(split), corpus.splits[split]
    if tokens.size < 2:
        return None
    text: Metrics | None = None
    tasks: dict[ObjectiveName, TaskMetrics] = {}
    classes: ClassMetrics | None = None
    with use_kernel(plan.kernel):
        for name in plan.objectives:
            if name == "causal":
                some, counted = tokens, corpus.counted(split)
                if not whole:
                    some, counted = beginning(corpus, split, _enough(plan))
                text = evaluate(
                    model,
                    some,
                    characters_per_token=sizes.characters_per_token,
                    counted=counted,
                    on_chunk=on_chunk,
                )
                continue
            if name == "classify":
                some_texts = None if whole else _enough_texts(plan)
                classes = evaluate_part(model, corpus, split, some_texts, on_chunk=on_chunk)
                continue
            passages = Passages(tokens, corpus.tokenizer, documents=corpus.documents)
            objective = OBJECTIVES[name](corpus.tokenizer)
            if found := sample_tasks(objective, passages, _TASKS if whole else _FEW_TASKS):
                tasks[name] = evaluate_tasks(model, found, on_batch=on_chunk)
    losses: dict[ObjectiveName, float] = {name: each.loss for name, each in tasks.items()}
    if text is not None:
        losses["causal"] = text.loss
    if classes is not None:
        losses["classify"] = classes.loss
    if not losses:
        return None
    total = sum(plan.objectives[name] for name in losses)
    loss = sum(plan.objectives[name] / total * losses[name] for name in losses)
    return Validation(loss, text, tasks, classes)


def beginning(
    corpus: EncodedCorpus, split: SplitName, length: int, fewest: int = 1
) -> tuple[Ids, Flags | None]:
    """The first ``length`` ids of a part, and which of them count: None where all do.

    Where only some count it begins shortly before the first of them, and is as much longer as it
    takes for ``fewest`` to count.
    """
    tokens, counted = corpus.tokens(split), corpus.counted(split)
    if counted is None:
        return tokens[:length], None
    some = _stretch(counted, length, fewest)
    return tokens[some], counted[some]


def _stretch(counted: Flags, length: int, fewest: int) -> slice:
    """Where ``beginning`` lies; the first id of a part is never predicted."""
    begin, found = 0, 0
    for first in range(1, counted.size, _BLOCK):
        places = np.flatnonzero(counted[first : first + _BLOCK]) + first
        if found == 0 and places.size:
            begin = max(0, int(places[0]) - _CONTEXT)
        if found + places.size >= fewest:
            return slice(begin, max(begin + length, int(places[fewest - found - 1]) + 1))
        found += places.size
    return slice(begin, counted.size)


def share_looked_at(corpus: EncodedCorpus, plan: Plan, split: SplitName) -> float:
    """Of a part that is not empty, by one of many validations: how much of it is read."""
    sizes = corpus.splits[split]
    if "classify" in plan.objectives:
        return min(1.0, _enough_texts(plan) / max(sizes.documents, 1))
    return min(1.0, _enough(plan) / sizes.tokens)


def _enough_texts(plan: Plan) -> int:
    """Labelled texts for one of many validations."""
    return max(_FEW_TEXTS, _enough(plan) // 128)


def _enough(plan: Plan) -> int:
    """Tokens of text for one of many validations."""
    return max(_FEWEST, int(_SHARE * plan.total_steps * plan.tokens_per_step))


def named(metrics: Metrics, prefix: str) -> dict[str, float | None]:
    """The metrics under the names that events and bundles use."""
    perplexity = metrics.perplexity
    return {
        f"{prefix}_loss": metrics.loss,
        f"{prefix}_mean_token_accuracy": metrics.accuracy,
        f"{prefix}_bits_per_character": metrics.bits_per_character,
        f"{prefix}_perplexity": perplexity if math.isfinite(perplexity) else None,
    }
