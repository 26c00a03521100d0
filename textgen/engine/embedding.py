"""Texts that become vectors: read like prompts, many together, but to their end and for a mean.

The vector is the mean over all tokens of what each layer gives out, layer after layer, scaled to
length 1. The state after the last token would be cheaper and says far less of a text: it is about
what comes next (docs/experiments.md has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from textgen.engine.prompt_reader import CHUNK, PROMPTS, PromptReader
from textgen.engine.requests import Answer

Vector = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Text:
    """A text that is not read to its end yet."""

    answer: Answer
    context: npt.NDArray[np.int64]
    sum: Tensor  # (L, H) of what the layers gave out so far
    position: int = 0  # tokens read
    state: Tensor | None = None  # (2, L, H)

    def chunk(self) -> npt.NDArray[np.int64]:
        """What is to be read next."""
        return self.context[self.position : self.position + CHUNK]


class TextsToEmbed:
    """Requests to embed, from their admission to their vector (L·``width``,).

    The bits of a vector depend on its text alone: chunks begin at multiples of CHUNK.
    """

    def __init__(self, reader: PromptReader, width: int) -> None:
        self._reader = reader
        self._width = width
        self._texts: dict[str, _Text] = {}  # by id, first the next to be read

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, answer: Answer, context: npt.NDArray[np.int64]) -> None:
        """Queue a request for the vector of ``context``, at least one token."""
        self._texts[answer.request.id] = _Text(answer, context, torch.zeros(()))

    def remove(self, request_id: str) -> Answer | None:
        """Drop a request; None where it is not here."""
        text = self._texts.pop(request_id, None)
        return None if text is None else text.answer

    def read(self) -> list[tuple[Answer, Vector]]:
        """Read one chunk of the first texts, those of interactive requests before others.

        Returns those that are read, with their vectors.
        """
        texts = self._texts
        names = sorted(texts, key=lambda name: not texts[name].answer.request.interactive)[:PROMPTS]
        group = [self._texts.pop(name) for name in names]
        chunks = [text.chunk() for text in group]
        read = self._reader.read(chunks, [text.state for text in group], sums=True)
        done = []
        for name, text, chunk, (state, total) in zip(names, group, chunks, read, strict=True):
            text.state = state
            text.position += len(chunk)
            assert total is not None  # noqa: S101 - sums were asked for
            text.sum = text.sum + total
            if text.position == len(text.context):
                done.append((text.answer, self._vector(text.sum)))
            else:
                self._texts[name] = text  # behind the others: a short text never waits for long
        return done

    def _vector(self, total: Tensor) -> Vector:
        flat = total[:, : self._width].flatten()  # a layer's state may be padded
        found: Vector = functional.normalize(flat, dim=0).cpu().numpy()
        return found
