"""A tokenizer that is given every text in one Unicode normal form.

The form is a part of the tokenizer and is stored with it, so that a prompt is read as the training
text was. A text comes back in its normal form, not as it was written.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from textgen.errors import InvalidBundle
from textgen.options import NORMALIZATIONS, Normalization
from textgen.tokenizers.base import Ids, IncrementalDecoder, Tokenizer

# Longer runs of combining marks are cut: no script has them, and sorting one takes time by the
# square of its length.
_LONGEST_RUN = 256
_LAST_MARK = 0x20000  # no character from here on combines with the one before it


class NormalizedTokenizer(Tokenizer):
    """``inner``, for texts in the normal form ``form``; never one of no form."""

    def __init__(self, inner: Tokenizer, form: Normalization) -> None:
        self.inner = inner
        self.name = inner.name
        self._form = form

    @property
    def normalization(self) -> Normalization:
        """The form."""
        return self._form

    @property
    def vocab_size(self) -> int:
        """The inner tokenizer's."""
        return self.inner.vocab_size

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The inner tokenizer's."""
        return self.inner.special_ids

    def encode(self, text: str) -> Ids:
        """The ids of the normal form."""
        return self.inner.encode(normalized(text, self._form))

    def encode_documents(self, texts: Iterable[str]) -> Ids:
        """The ids of the normal forms, each followed by the end."""
        return self.inner.encode_documents(normalized(text, self._form) for text in texts)

    def decode(self, ids: npt.ArrayLike) -> str:
        """The inner tokenizer's text."""
        return self.inner.decode(ids)

    def decoder(self) -> IncrementalDecoder:
        """The inner tokenizer's."""
        return self.inner.decoder()

    def token_text(self, token: int) -> str:
        """The inner tokenizer's."""
        return self.inner.token_text(token)

    def token_bytes(self, token: int) -> bytes:
        """The inner tokenizer's."""
        return self.inner.token_bytes(token)

    def count_unknown(self, text: str) -> Counter[str]:
        """Of the normal form."""
        return self.inner.count_unknown(normalized(text, self._form))

    def count_spelt(self, ids: Ids) -> int:
        """The inner tokenizer's."""
        return self.inner.count_spelt(ids)

    def to_dict(self) -> dict[str, Any]:
        """The inner tokenizer's values and the form."""
        return {**self.inner.to_dict(), "normalization": self._form}


def with_normalization(tokenizer: Tokenizer, form: object) -> Tokenizer:
    """``tokenizer`` for texts in ``form``; itself for none. InvalidBundle where that is no form."""
    if form not in NORMALIZATIONS:
        raise InvalidBundle(
            f"The tokenizer's normalization is {str(form)[:40]!r}; it can be "
            f"{', '.join(NORMALIZATIONS)}.",
            param="normalization",
        )
    return tokenizer if form == "none" else NormalizedTokenizer(tokenizer, form)


def normalized(text: str, form: Normalization) -> str:
    """``text`` in ``form``, in time that grows with its length alone."""
    if form == "none" or text.isascii():
        return text
    name = _name(form)
    cuts = [0]
    for run in _runs().finditer(text):
        cuts += range(run.start() + _LONGEST_RUN, run.end(), _LONGEST_RUN)
    cuts.append(len(text))
    parts = (text[start:stop] for start, stop in pairwise(cuts))
    return "".join(unicodedata.normalize(name, part) for part in parts)


def normalized_pieces(pieces: Iterable[str], form: Normalization) -> Iterator[str]:
    """The normal form of a text that comes in pieces, which may be cut between any two characters.

    What may combine with the next piece is held back, at most the longest run.
    """
    if form == "none":
        yield from pieces
        return
    rest = ""
    for piece in pieces:
        text = rest + piece
        at = _last_start(text)
        rest = text[at:]
        if at:
            yield normalized(text[:at], form)
    if rest:
        yield normalized(rest, form)


def _last_start(text: str) -> int:
    """Where the last character stands that begins anew; the end where a run is too long."""
    for at in range(len(text) - 1, max(len(text) - _LONGEST_RUN, 0) - 1, -1):
        if text[at] not in _continuing():
            return at
    return len(text) if len(text) >= _LONGEST_RUN else 0


@cache
def _continuing() -> frozenset[str]:
    """The characters that can change or combine with what stands before them, in any form."""
    seconds = {chr(point) for point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for point in range(0xC0, _LAST_MARK):
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    found = set[str]()
    for point in range(0xA8, _LAST_MARK):
        first = unicodedata.normalize("NFKD", chr(point))[:1]
        if unicodedata.combining(first) or first in seconds:
            found.add(chr(point))
    return frozenset(found)


@cache
def _runs() -> re.Pattern[str]:
    return re.compile(f"[{re.escape(''.join(sorted(_continuing())))}]{{{_LONGEST_RUN + 1},}}")


def _name(form: Normalization) -> Any:
    return form.upper()
