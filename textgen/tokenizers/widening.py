"""A tokenizer for a further text: what a model knows already, and what is new."""

from __future__ import annotations

from textgen.tokenizers.base import Tokenizer
from textgen.tokenizers.char import CharTokenizer
from textgen.tokenizers.marked import MarkedTokenizer, with_marks
from textgen.tokenizers.normalized import NormalizedTokenizer, with_normalization


def widened(tokenizer: Tokenizer, learnt: Tokenizer) -> Tokenizer:
    """``tokenizer`` with the characters of ``learnt`` that it lacks, after its own.

    Only char has unknown characters: the others write every text, and stay as they are.
    """
    if isinstance(tokenizer, NormalizedTokenizer):
        return with_normalization(widened(tokenizer.inner, learnt), tokenizer.normalization)
    inner = tokenizer.inner if isinstance(tokenizer, MarkedTokenizer) else tokenizer
    if not isinstance(inner, CharTokenizer) or not isinstance(learnt, CharTokenizer):
        return tokenizer
    known = set(inner.characters)
    new = "".join(character for character in learnt.characters if character not in known)
    if not new:
        return tokenizer
    marks = tokenizer.marks if isinstance(tokenizer, MarkedTokenizer) else ()
    return with_marks(CharTokenizer(inner.characters + new), marks)
