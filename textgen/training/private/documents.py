"""The training part as single documents, each read from its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.id_blocks import places_of
from textgen.errors import InvalidOption
from textgen.tokenizers import Ids
from textgen.training.streams import IGNORED, Batch


class Documents:
    """Documents by their number; of each at most ``longest`` tokens are read and predicted.

    ``tokens`` are: end, document, end, document, … end. ``counted`` says of every token whether
    predicting it counts; None where all do.
    """

    def __init__(
        self,
        tokens: Ids,
        end_id: int,
        longest: int,
        counted: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self._tokens = tokens
        self._counted = counted
        self._pad = end_id
        ends = places_of(end_id, tokens)
        self._starts = ends[:-1]
        whole = np.diff(ends)
        self.cut = int((whole > longest).sum())
        self._lengths = np.minimum(whole, longest)

    def __len__(self) -> int:
        return len(self._starts)

    def batches(self, numbers: Sequence[int] | npt.NDArray[np.int64], rows: int) -> Iterator[Batch]:
        """The documents of these numbers, ``rows`` at once, the shortest first.

        Shorter rows end in padding that does not count.
        """
        chosen = np.asarray(numbers, np.int64)
        chosen = chosen[np.argsort(self._lengths[chosen], kind="stable")]
        for first in range(0, len(chosen), rows):
            yield self._batch(chosen[first : first + rows])

    def _batch(self, numbers: npt.NDArray[np.int64]) -> Batch:
        starts, lengths = self._starts[numbers, None], self._lengths[numbers, None]  # (B, 1)
        offsets = np.arange(lengths.max())[None]  # (1, T)
        inside = offsets < lengths  # (B, T)
        places = np.where(inside, starts + offsets, starts)
        inputs = np.where(inside, self._tokens[places], self._pad).astype(np.int64)
        counts = inside if self._counted is None else inside & (self._counted[places + 1] > 0)
        targets = np.where(counts, self._tokens[places + 1].astype(np.int64), IGNORED)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets))


def protected_documents(corpus: EncodedCorpus, longest: int) -> Documents:
    """The training part of ``corpus``; InvalidOption where it has no separate documents."""
    if not corpus.documents:
        raise InvalidOption(
            "'privacy' protects documents, and this corpus is one text. Give a text a line with "
            "the format lines, or a .jsonl, .csv or .parquet file.",
            param="privacy",
        )
    if corpus.kind not in ("text", "prompts"):
        raise InvalidOption(
            f"'privacy' goes with rows of text or of prompts and completions; these are "
            f"{corpus.kind}. Write them as such.",
            param="privacy",
        )
    tokens, end = corpus.tokens("train"), corpus.tokenizer.end_id
    return Documents(tokens, end, longest, corpus.counted("train"))
