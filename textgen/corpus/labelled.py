"""The texts of a labelled corpus one by one, each as a classifier reads it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.id_blocks import places_of
from textgen.corpus.splits import SplitName
from textgen.objectives import ANSWER


class LabelledTexts:
    """The texts of one part, by number from 0; ``labels`` (N,) are places in ``corpus.labels``.

    A classifier reads an end, the text and the mark ``answer``; ``lengths`` (N,) count them all.
    """

    def __init__(self, corpus: EncodedCorpus, split: SplitName) -> None:
        self._tokens = corpus.tokens(split)
        self._ends = places_of(corpus.tokenizer.end_id, self._tokens)
        self._answer = corpus.tokenizer.special_ids[ANSWER]
        self.labels: npt.NDArray[np.uint16] = corpus.label_numbers(split)
        self.lengths: npt.NDArray[np.int64] = np.diff(self._ends) + 1

    def __len__(self) -> int:
        return len(self.labels)

    def ids(self, number: int) -> npt.NDArray[np.int64]:
        """What is read of text ``number``."""
        text = self._tokens[self._ends[number] : self._ends[number + 1]]
        return np.append(text.astype(np.int64), self._answer)
