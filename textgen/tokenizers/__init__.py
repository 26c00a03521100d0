"""The tokenizers there are, by name, and how one is read from a model file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from textgen.errors import InvalidBundle
from textgen.options import TokenizerName
from textgen.tokenizers.base import Ids, IncrementalDecoder, Learner, Tokenizer, TokenizerKind
from textgen.tokenizers.bpe import BpeTokenizer
from textgen.tokenizers.byte import ByteTokenizer
from textgen.tokenizers.char import CharTokenizer
from textgen.tokenizers.marked import MarkedTokenizer, with_marks
from textgen.tokenizers.normalized import NormalizedTokenizer, with_normalization
from textgen.tokenizers.unigram import UnigramTokenizer
from textgen.tokenizers.word import WordTokenizer

__all__ = [
    "TOKENIZERS",
    "BpeTokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Ids",
    "IncrementalDecoder",
    "Learner",
    "MarkedTokenizer",
    "NormalizedTokenizer",
    "Tokenizer",
    "TokenizerKind",
    "UnigramTokenizer",
    "WordTokenizer",
    "load_tokenizer",
    "with_marks",
    "with_normalization",
]

# A new tokenizer is one module with a TokenizerKind, its name in options.TokenizerName, and a line
# here.
TOKENIZERS: Mapping[TokenizerName, type[TokenizerKind]] = MappingProxyType(
    {
        "char": CharTokenizer,
        "byte": ByteTokenizer,
        "bpe": BpeTokenizer,
        "unigram": UnigramTokenizer,
        "word": WordTokenizer,
    }
)


def load_tokenizer(data: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that ``Tokenizer.to_dict`` wrote; InvalidBundle on anything else."""
    name = data.get("name") if isinstance(data, Mapping) else None
    for known, tokenizer in TOKENIZERS.items():
        if known == name:
            values = dict(data)
            marks = values.pop("marks", [])
            if not isinstance(marks, list) or not all(isinstance(mark, str) for mark in marks):
                raise InvalidBundle("The marks of a tokenizer are a list of names.", param="marks")
            form = values.pop("normalization", "none")
            return with_normalization(with_marks(tokenizer.from_dict(values), marks), form)
    raise InvalidBundle(
        f"The model file names the tokenizer {name!r}, which this version does not know; "
        f"it knows {', '.join(TOKENIZERS)}.",
        param="tokenizer",
    )
