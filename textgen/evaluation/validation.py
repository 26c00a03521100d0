"""Measuring a model on the parts of the corpus that it did not learn from."""

from __future__ import annotations

import math

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.splits import SplitName
from textgen.evaluation.measures import Metrics, evaluate
from textgen.model import TextGenerator
from textgen.numerics import use_kernel
from textgen.plan import Plan

_SHARE = 0.015  # of all training tokens, each time; twenty times make a tenth of the training time
_FEWEST = 4096


def validate(
    model: TextGenerator, corpus: EncodedCorpus, plan: Plan, split: SplitName, *, whole: bool
) -> Metrics | None:
    """The metrics on a part of the corpus, None where it is empty.

    Unless ``whole``, a long part is cut to a length that suits the training's.
    """
    tokens, sizes = corpus.tokens(split), corpus.splits[split]
    if not whole:
        trained = plan.total_steps * plan.batch_size * plan.sequence_length
        tokens = tokens[: max(_FEWEST, int(_SHARE * trained))]
    if tokens.size < 2:
        return None
    with use_kernel(plan.kernel):
        return evaluate(model, tokens, characters_per_token=sizes.characters / sizes.tokens)


def named(metrics: Metrics, prefix: str) -> dict[str, float | None]:
    """The metrics under the names that events and bundles use."""
    perplexity = metrics.perplexity
    return {
        f"{prefix}_loss": metrics.loss,
        f"{prefix}_mean_token_accuracy": metrics.accuracy,
        f"{prefix}_bits_per_character": metrics.bits_per_character,
        f"{prefix}_perplexity": perplexity if math.isfinite(perplexity) else None,
    }
