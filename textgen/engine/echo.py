"""Prompts that are fed token by token, as if they were drawn, so that each token has its logprob.

A prompt that is only read goes through the model in chunks, several together, and no logits are
made of it. One that is to be told with its log-probabilities has a row like a text that is written:
it waits for nothing, nothing waits for it, and its numbers are those of drawn tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.tokenizers import Tokenizer


class EchoedPrompt:
    """How far one such prompt is fed.

    ``context`` is what the model reads, ``prompt`` of it from ``first`` on. With ``only_read``
    what stands behind the prompt is left out: nothing is to be written.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        context: npt.NDArray[np.int64],
        prompt: npt.NDArray[np.integer[Any]],
        first: int,
        *,
        only_read: bool,
    ) -> None:
        end = first + len(prompt)
        self._tokens: list[int] = context[: end if only_read else None].tolist()
        self._prompt = range(first, end)
        self._decoder = tokenizer.decoder()
        self._place = 0

    @property
    def next(self) -> int:
        """The token to feed."""
        return self._tokens[self._place]

    @property
    def done(self) -> bool:
        """Whether all is fed."""
        return self._place == len(self._tokens)

    @property
    def within(self) -> bool:
        """Whether the next token is of the prompt itself."""
        return self._place in self._prompt

    @property
    def at_first(self) -> bool:
        """Whether the next token is the prompt's first."""
        return self._place == self._prompt.start

    def feed(self) -> str:
        """The text that the next token adds."""
        text = self._decoder.push(self.next) if self.within else ""
        self._place += 1
        if self._place == self._prompt.stop:
            text += self._decoder.finish()
        return text
