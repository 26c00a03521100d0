"""Tasks of an objective, made of random passages of the text, as rows for training."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from textgen.objectives import Objective, Passages, examples
from textgen.training.streams import IGNORED, Batch


class TaskStreams:
    """B endless rows of tasks made of random passages, T tokens a step.

    A row is a chain of blocks, each filled with whole tasks by random numbers of its own, so any
    step can be made without those before it. A task may go on into the next step, whose state is
    carried there. Only answers count.
    """

    _BLOCK = 8  # steps, or more where tasks are long

    def __init__(
        self,
        objective: Objective,
        passages: Passages,
        batch_size: int,
        sequence_length: int,
        seed: int,
    ) -> None:
        self._objective = objective
        self._passages = passages
        self._rows = batch_size
        self._length = sequence_length
        self._seed = seed
        self._block_size = max(self._BLOCK * sequence_length, 4 * objective.passage[1])
        self._blocks: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @property
    def share(self) -> Fraction:
        """By the tokens of all rows; passages are drawn, so no pass is complete."""
        return Fraction(self._rows * self._length, self._passages.size)

    def batch(self, step: int) -> Batch:
        """The next T tokens of every row."""
        rows = [self._window(row, step * self._length) for row in range(self._rows)]
        return Batch(torch.stack([x for x, _ in rows]), torch.stack([y for _, y in rows]))

    def _window(self, row: int, start: int) -> tuple[Tensor, Tensor]:
        """T inputs and targets of a row."""
        first, offset = divmod(start, self._block_size)
        blocks = [self._block(row, first), self._block(row, first + 1)]
        stop = offset + self._length
        ids, targets = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        return ids[offset:stop], targets[offset + 1 : stop + 1]

    def _block(self, row: int, number: int) -> tuple[Tensor, Tensor]:
        """The ids of a block, and the same as targets."""
        key = (row, number)
        if key not in self._blocks:
            self._blocks.pop((row, number - 2), None)
            self._blocks[key] = self._filled(np.random.default_rng([self._seed, row, number]))
        return self._blocks[key]

    def _filled(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        ids = torch.full((self._block_size,), self._passages.end_id)
        targets = torch.full((self._block_size,), IGNORED)
        place = 0
        for example in examples(self._objective, self._passages, random):
            if place + example.size > self._block_size:
                return ids, targets
            answer = place + len(example.prompt)
            ids[place:answer] = torch.from_numpy(example.prompt)
            place += example.size
            ids[answer:place] = targets[answer:place] = torch.from_numpy(example.answer)
        return ids, targets
