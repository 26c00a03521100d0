"""What a model reads before it writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidOption
from textgen.tokenizers import Tokenizer

TokenIds = npt.NDArray[np.integer[Any]]


class ContextMaker:
    """What the model reads before its first drawn token.

    A model that learnt from documents reads an end token, the boundary before a new document, and
    then the prompt. Others read the prompt; in the place of an empty one a line's end, else the
    first token that has a text.
    """

    def __init__(self, tokenizer: Tokenizer, *, documents: bool) -> None:
        self._vocab_size = tokenizer.vocab_size
        self._start = tokenizer.end_id if documents else _line_end(tokenizer)
        self._always = documents

    def check(self, prompt: TokenIds) -> None:
        """InvalidOption where an id is not of this vocabulary."""
        if len(prompt) == 0:
            return
        for wrong in (int(prompt.min()), int(prompt.max())):
            if not 0 <= wrong < self._vocab_size:
                raise InvalidOption(
                    f"'prompt' has the token id {wrong}; this model knows 0 to "
                    f"{self._vocab_size - 1}.",
                    param="prompt",
                )

    def make(self, prompt: TokenIds) -> npt.NDArray[np.int64]:
        """At least one id."""
        start = [self._start] if self._always or len(prompt) == 0 else []
        return np.concatenate([np.array(start, np.int64), prompt.astype(np.int64)])


def _line_end(tokenizer: Tokenizer) -> int:
    ids = tokenizer.encode("\n").tolist()
    special = set(tokenizer.special_ids.values())
    if len(ids) == 1 and ids[0] not in special:
        return int(ids[0])
    return next((token for token in range(tokenizer.vocab_size) if token not in special), 0)
