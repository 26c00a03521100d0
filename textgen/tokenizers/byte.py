"""UTF-8 bytes as ids: no vocabulary to learn, no unknown character, any language."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidBundle
from textgen.options import TokenizerName
from textgen.tokenizers.base import (
    Ids,
    IncrementalDecoder,
    Learner,
    Tokenizer,
    TokenizerKind,
    lone_surrogate,
)

END = 256
_TEXTS = [*(bytes((byte,)) for byte in range(END)), b""]
# No byte of UTF-8 is 0xFF, so it can stand for the end of a document while texts are joined.
_SEPARATOR = b"\xff"
_LEAST_LEAD = 0xC0  # the bytes from here on begin a character of several bytes


class ByteTokenizer(TokenizerKind):
    """Ids 0 to 255 are bytes, 256 is the end of a document."""

    name: TokenizerName = "byte"

    @property
    def vocab_size(self) -> int:
        """256 bytes and the end."""
        return END + 1

    @property
    def special_ids(self) -> Mapping[str, int]:
        """Only the end: every text can be written in bytes."""
        return {"end": END}

    @classmethod
    def learner(cls, vocab_size: int | None = None) -> Learner:  # noqa: ARG003 - always 257
        """Nothing is learnt, and ``vocab_size`` is always 257."""
        return _ByteLearner()

    def encode(self, text: str) -> Ids:
        """One id a UTF-8 byte."""
        return np.frombuffer(utf8(text), np.uint8).astype(np.uint16)

    def encode_documents(self, texts: Iterable[str]) -> Ids:
        """Each text's bytes, followed by the end."""
        joined = b"".join(utf8(text) + _SEPARATOR for text in texts)
        ids = np.frombuffer(joined, np.uint8).astype(np.uint16)
        ids[ids == _SEPARATOR[0]] = END
        return ids

    def decode(self, ids: npt.ArrayLike) -> str:
        """The bytes as UTF-8; a character cut by an end does not go on after it."""
        array = self._checked(ids)
        ends = np.flatnonzero(array == END)
        parts = np.split(array, ends)
        texts = (part[part != END].astype(np.uint8).tobytes() for part in parts)
        return "".join(text.decode("utf-8", "replace") for text in texts)

    def decoder(self) -> IncrementalDecoder:
        """A decoder that holds bytes back until they make a character."""
        return ByteDecoder(_TEXTS)

    def token_text(self, token: int) -> str:
        r"""An ASCII character, or ``bytes:\xe4`` for a part of a longer one."""
        self._checked([token])
        if token == END:
            return ""
        return chr(token) if token < 0x80 else f"bytes:\\x{token:02x}"

    def token_bytes(self, token: int) -> bytes:
        """The byte; nothing for the end."""
        return _TEXTS[token]

    def count_unknown(self, text: str) -> Counter[str]:  # noqa: ARG002 - none can be
        """Always empty."""
        return Counter()

    def count_spelt(self, ids: Ids) -> int:
        """Every character beyond ASCII."""
        return int(np.count_nonzero((ids >= _LEAST_LEAD) & (ids < END)))

    def to_dict(self) -> dict[str, Any]:
        """Only the name."""
        return {"name": self.name}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Refuse anything but the name."""
        if set(data) != {"name"}:
            raise InvalidBundle("The byte tokenizer has no fields but its name.", param="tokenizer")
        return cls()


class _ByteLearner(Learner):
    def add(self, text: str) -> None:
        pass  # every text is made of the same 256 bytes

    def finish(self) -> Tokenizer:
        return ByteTokenizer()


class ByteDecoder(IncrementalDecoder):
    """For ids that stand for one byte or several, ``texts``; the end has none."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that the token completes."""
        return self.finish() if token == END else self._utf8.decode(self._texts[token])

    @property
    def within_character(self) -> bool:
        """Whether bytes are held back."""
        return self._utf8.getstate()[0] != b""

    def finish(self) -> str:
        """The replacement character for a part of one."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text


def utf8(text: str) -> bytes:
    """The bytes of ``text``; InvalidInput where it holds half a surrogate pair."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise lone_surrogate(error) from None
