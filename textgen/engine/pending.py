"""Characters of which a text has the first tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.tokenizers import IncrementalDecoder, Tokenizer

_LONGEST_CHARACTER = 4  # bytes, and so tokens


def pending_tokens(
    tokenizer: Tokenizer,
    before: Sequence[int],
    tokens: Sequence[int] | npt.NDArray[np.integer[Any]],
) -> tuple[int, ...]:
    """The last of ``tokens``, after ``before``, where they make no whole character yet."""
    if len(tokens) >= _LONGEST_CHARACTER:
        before, tokens = (), tokens[-_LONGEST_CHARACTER:]
    decoder, pending = primed(tokenizer, before), list(before)
    for token in map(int, tokens):
        completed = decoder.push(token)
        if completed or not decoder.within_character:
            pending.clear()
        if decoder.within_character:
            pending.append(token)
    return tuple(pending)


def primed(tokenizer: Tokenizer, pending: Sequence[int]) -> IncrementalDecoder:
    """A decoder that has taken in the beginning of a character, if there is one, already."""
    decoder = tokenizer.decoder()
    for token in pending:
        decoder.push(token)
    return decoder
