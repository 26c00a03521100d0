"""What a kernel is: one way to do the engine's arithmetic, with one order of every sum."""

from __future__ import annotations

from typing import Literal, Protocol

from textgen.engine.prompt_reader import PromptReader
from textgen.engine.rows import Rows

KernelName = Literal["native", "torch"]
Weights = Literal["float32", "int8"]


class Kernel(Protocol):
    """Makes the rows and the prompt reader of one model.

    All that one kernel makes gives a token's logits and states the same bits, whatever the number
    of rows, and whether the tokens before it came one by one or in chunks.
    """

    @property
    def name(self) -> str:
        """What the bits depend on beside device and torch: kernel, version, weights, threads."""

    def rows(self, slots: int) -> Rows:
        """New rows, all zero."""

    def reader(self) -> PromptReader:
        """A new prompt reader."""
