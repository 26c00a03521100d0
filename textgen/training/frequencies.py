"""How often each symbol comes: what the output layer of a new model begins with.

With a bias of zeros the first hundreds of steps learn nothing but these numbers, the longer the
larger the vocabulary; a step of a sampled softmax moves few of the rare symbols at all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from textgen.corpus.dataset import EncodedCorpus
from textgen.model import TextGenerator
from textgen.plan import Plan
from textgen.tokenizers import Ids

_COUNTED = 4_000_000  # tokens are enough to know


def token_counts(tokens: Ids, vocab_size: int) -> npt.NDArray[np.int64]:
    """How often each id comes in the beginning of a text: (V,)."""
    return np.bincount(tokens[:_COUNTED], minlength=vocab_size)


def begin_with_frequencies(model: TextGenerator, plan: Plan, corpus: EncodedCorpus) -> None:
    """Give a new model's output the logarithm of how often each symbol comes as its bias.

    Marks that are in no text but in tasks made of it are as likely as any symbol. Nothing changes
    where the weights may tell nothing that is not private, nor where nothing but labels is learnt.
    """
    if plan.privacy is not None or tuple(plan.objectives) == ("classify",):
        return
    counts = token_counts(corpus.tokens("train"), plan.vocab_size) + 1.0  # none is impossible
    marks = [mark for mark in corpus.tokenizer.special_ids.values() if counts[mark] == 1]
    counts[marks] = counts.mean()
    with torch.no_grad():
        model.output.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
