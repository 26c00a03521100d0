"""How often each symbol comes: what the output layer of a new model begins with.

With a bias of zeros the first hundreds of steps learn nothing but these numbers, the longer the
larger the vocabulary; a step of a sampled softmax moves few of the rare symbols at all.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.corpus.dataset import EncodedCorpus
from textgen.model import TextGenerator
from textgen.plan import Plan
from textgen.tokenizers import Ids

_COUNTED = 4_000_000  # tokens are enough to know


def token_counts(tokens: Ids, vocab_size: int) -> npt.NDArray[np.int64]:
    """How often each id comes in the beginning of a text: (V,)."""
    return np.bincount(tokens[:_COUNTED], minlength=vocab_size)


def first_bias(tokens: Ids, vocab_size: int, marks: Collection[int] = ()) -> Tensor:
    """The logarithm of how often each id comes in a text: (V,) float32, exp sums to 1.

    An id that does not come counts as if it stood there once; one of ``marks``, which
    are in no text but in tasks made of it, is as likely as the mean of all.
    """
    counts = token_counts(tokens, vocab_size) + 1.0
    absent = [mark for mark in marks if counts[mark] == 1.0]
    counts[absent] = counts.mean()
    return torch.from_numpy(np.log(counts / counts.sum())).float()


def begin_with_frequencies(model: TextGenerator, plan: Plan, corpus: EncodedCorpus) -> None:
    """Give a new model's output the ``first_bias`` of the text that it is to learn.

    Nothing changes where the weights may tell nothing that is not private, nor where nothing but
    labels is learnt.
    """
    if plan.privacy is not None or tuple(plan.objectives) == ("classify",):
        return
    marks = corpus.tokenizer.special_ids.values()
    with torch.no_grad():
        model.output.bias.copy_(first_bias(corpus.tokens("train"), plan.vocab_size, marks))
