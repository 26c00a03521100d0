"""A tokenizer with marks: further special ids that no text can contain.

A mark says what comes next: whose turn it is in a conversation, where a gap was. Being ids and
not characters, marks can be neither forged by a text nor mistaken for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidBundle
from textgen.tokenizers.base import Ids, IncrementalDecoder, Tokenizer
from textgen.tokenizers.normalized import NormalizedTokenizer

_LONGEST_NAME = 120
_MOST = 4000


class MarkedTokenizer(Tokenizer):
    """``inner`` with the ids from ``inner.vocab_size`` on for ``marks``, in their order.

    InvalidBundle where a mark has no name of its own, or there are too many.
    """

    def __init__(self, inner: Tokenizer, marks: Sequence[str]) -> None:
        self.inner = inner
        self.name = inner.name
        self.marks = tuple(marks)
        taken = set(inner.special_ids)
        bad = [mark for mark in marks if not _is_name(mark) or mark in taken]
        if bad or len(set(marks)) != len(marks):
            raise InvalidBundle(
                f"The marks {list(marks)[:20]} of a tokenizer need names of their own: texts of 1 "
                f"to {_LONGEST_NAME} characters.",
                param="tokenizer",
            )
        if len(marks) > _MOST:
            raise InvalidBundle(
                f"{len(marks)} marks are too many; {_MOST} is the most.", param="tokenizer"
            )
        self._special_ids = MappingProxyType(
            {**inner.special_ids, **dict(zip(marks, count(inner.vocab_size), strict=False))}
        )

    @property
    def vocab_size(self) -> int:
        """The inner tokenizer's ids and the marks."""
        return self.inner.vocab_size + len(self.marks)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The inner tokenizer's, then the marks by name."""
        return self._special_ids

    def encode(self, text: str) -> Ids:
        """The inner tokenizer's ids: text holds no marks."""
        return self.inner.encode(text).astype(self.dtype, copy=False)

    def encode_documents(self, texts: Iterable[str]) -> Ids:
        """The inner tokenizer's ids."""
        return self.inner.encode_documents(texts).astype(self.dtype, copy=False)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Marks have no text; a character cut by one does not go on after it."""
        array = self._checked(ids)
        return self.inner.decode(np.where(array < self.inner.vocab_size, array, self.end_id))

    def decoder(self) -> IncrementalDecoder:
        """The inner tokenizer's decoder, which takes a mark for an end."""
        return _MarkedDecoder(self.inner)

    def token_text(self, token: int) -> str:
        """As the inner tokenizer shows it; nothing for a mark."""
        self._checked([token])
        return "" if token >= self.inner.vocab_size else self.inner.token_text(token)

    def token_bytes(self, token: int) -> bytes:
        """The inner tokenizer's; nothing for a mark."""
        return b"" if token >= self.inner.vocab_size else self.inner.token_bytes(token)

    def count_unknown(self, text: str) -> Counter[str]:
        """The inner tokenizer's."""
        return self.inner.count_unknown(text)

    def count_spelt(self, ids: Ids) -> int:
        """The inner tokenizer's: marks spell nothing."""
        return self.inner.count_spelt(ids[ids < self.inner.vocab_size])

    def to_dict(self) -> dict[str, Any]:
        """The inner tokenizer's values and the marks."""
        return {**self.inner.to_dict(), "marks": list(self.marks)}


def _is_name(mark: str) -> bool:
    """Names are shown to people, so half a surrogate pair, which is no character, is none."""
    whole = not any("\ud800" <= character <= "\udfff" for character in mark)
    return 0 < len(mark) <= _LONGEST_NAME and whole


class _MarkedDecoder(IncrementalDecoder):
    def __init__(self, inner: Tokenizer) -> None:
        self._known = inner.vocab_size
        self._end = inner.end_id
        self._decoder = inner.decoder()

    def push(self, token: int) -> str:
        return self._decoder.push(token if token < self._known else self._end)

    @property
    def within_character(self) -> bool:
        return self._decoder.within_character

    def finish(self) -> str:
        return self._decoder.finish()


def with_marks(tokenizer: Tokenizer, marks: Sequence[str]) -> Tokenizer:
    """``tokenizer`` with those of ``marks`` that it does not have yet; itself where it has all.

    Ids that exist stay what they are.
    """
    new = [mark for mark in marks if mark not in tokenizer.special_ids]
    if not new:
        return tokenizer
    if isinstance(tokenizer, NormalizedTokenizer):
        return NormalizedTokenizer(with_marks(tokenizer.inner, new), tokenizer.normalization)
    if isinstance(tokenizer, MarkedTokenizer):
        return MarkedTokenizer(tokenizer.inner, (*tokenizer.marks, *new))
    return MarkedTokenizer(tokenizer, new)
