"""The tokenizer for a text where the user names none; docs/experiments.md has the figures."""

from __future__ import annotations

from dataclasses import dataclass

from textgen.options import LEAST_PIECE_VOCABULARY, TokenizerName

# Above, an output layer with a symbol for each takes most of a step, and most of them are rare.
MANY_SYMBOLS = 2_000
_PIECES = 1_024  # few enough for a small model to learn all of them in a minute


@dataclass(frozen=True, slots=True)
class TokenizerChoice:
    """``vocab_size`` None: as many symbols as there are, or as many pieces as are usual."""

    name: TokenizerName
    vocab_size: int | None
    reason: str


def choose_tokenizer(symbols: int, vocab_size: int | None = None) -> TokenizerChoice:
    """For a text of ``symbols`` distinct characters; ``vocab_size`` is the user's wish."""
    if symbols <= MANY_SYMBOLS:
        reason = f"{symbols:,} different characters make a small vocabulary"
        return TokenizerChoice("char", vocab_size, reason)
    if vocab_size is not None and vocab_size < LEAST_PIECE_VOCABULARY:
        reason = f"a vocabulary of {vocab_size:,} is too small for pieces"
        return TokenizerChoice("char", vocab_size, reason)
    reason = f"parts of {symbols:,} different characters are learnt faster than whole ones"
    return TokenizerChoice("bpe", vocab_size or _PIECES, reason)
