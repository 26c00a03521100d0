"""Labelled texts as rows for training: every text whole, in an order of each epoch's own.

Labels are targets alone. A row that read them, as a row of running text does, would learn from a
file sorted by label to repeat the last one it saw; so texts are shuffled too.

The label is the target at every place of its text, not at the last alone: what a text says early
is learnt although it is forgotten later, and texts longer than a window teach in all of their
windows (Dai and Le 2015 do so with weights that grow along the text). Measuring and classifying
look at the last place.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textgen.corpus.labelled import LabelledTexts
from textgen.training.streams import IGNORED, Batch

Places = npt.NDArray[np.int64]


class LabelStreams:
    """B readers, evenly spaced, who walk round the texts T tokens a step.

    Texts are packed into blocks of whole windows of T tokens. A block is read from a state of
    zeros, as a text is when it is measured or classified; texts that share it follow each other
    as documents do. Each epoch has the blocks in another order. Where each reader stands follows
    from the step alone. ``label_ids`` are the targets, by the number of the label.
    """

    def __init__(
        self,
        texts: LabelledTexts,
        label_ids: Sequence[int],
        batch_size: int,
        sequence_length: int,
        end_id: int,
        seed: int,
    ) -> None:
        self._texts = texts
        self._label_ids = label_ids
        self._length = sequence_length
        self._end = end_id
        self._seed = seed
        self._order = np.random.default_rng([seed, 0]).permutation(len(texts))
        self._first, self._windows = _packed(texts.lengths[self._order], sequence_length)
        self._total = int(self._windows.sum())  # windows in an epoch
        self._starts = [self._total * row // batch_size for row in range(batch_size)]
        self._epochs: dict[int, tuple[Places, Places]] = {}
        self._open: dict[int, tuple[int, Tensor, Tensor]] = {}  # the block that each row reads

    @property
    def share(self) -> Fraction:
        """By the windows, which texts do not fill to the end."""
        return Fraction(len(self._starts), self._total)

    def batch(self, step: int) -> Batch:
        """The next window of every row; a row that begins a block is ``fresh``."""
        rows = [self._window(row, start + step) for row, start in enumerate(self._starts)]
        return Batch(
            torch.stack([x for x, _, _ in rows]),
            torch.stack([y for _, y, _ in rows]),
            torch.tensor([fresh for _, _, fresh in rows]),
        )

    def _window(self, row: int, number: int) -> tuple[Tensor, Tensor, bool]:
        epoch, place = divmod(number, self._total)
        blocks, starts = self._epoch(epoch)
        index = int(np.searchsorted(starts, place, side="right")) - 1
        block, offset = int(blocks[index]), place - int(starts[index])
        if row not in self._open or self._open[row][0] != block:
            self._open[row] = (block, *self._filled(block))
        _, ids, targets = self._open[row]
        window = slice(offset * self._length, (offset + 1) * self._length)
        return ids[window], targets[window], offset == 0

    def _epoch(self, number: int) -> tuple[Places, Places]:
        """The blocks in the order of an epoch, and the window that each begins at."""
        if number not in self._epochs:
            self._epochs.pop(number - 2, None)
            random = np.random.default_rng([self._seed, number + 1])
            blocks = random.permutation(len(self._windows))
            windows = self._windows[blocks]
            self._epochs[number] = blocks, np.cumsum(windows) - windows
        return self._epochs[number]

    def _filled(self, block: int) -> tuple[Tensor, Tensor]:
        size = int(self._windows[block]) * self._length
        ids, targets = np.full(size, self._end, np.int64), np.full(size, IGNORED, np.int64)
        place = 0
        for text in self._order[self._first[block] : self._first[block + 1]]:
            read = self._texts.ids(int(text))
            ids[place : place + len(read)] = read
            targets[place : place + len(read)] = self._label_ids[self._texts.labels[text]]
            place += len(read)
        return torch.from_numpy(ids), torch.from_numpy(targets)


def _packed(lengths: Places, window: int) -> tuple[Places, Places]:
    """The first text of each block, and their number behind; and the windows of each block."""
    first, windows, room = [], [], 0
    for number, length in enumerate(lengths.tolist()):
        if length > room:
            first.append(number)
            windows.append(-(-length // window))
            room = windows[-1] * window
        room -= length
    return np.array([*first, len(lengths)], np.int64), np.array(windows, np.int64)
