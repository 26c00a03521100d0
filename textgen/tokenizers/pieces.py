"""What bpe, unigram and word have in common: ids 0 to 255 are bytes, 256 the end, then pieces.

With the bytes among the ids every text can be written, so there is no unknown character.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidBundle
from textgen.options import LARGEST_VOCABULARY
from textgen.tokenizers.base import (
    Ids,
    IncrementalDecoder,
    Learner,
    Tokenizer,
    TokenizerKind,
)
from textgen.tokenizers.byte import END, ByteDecoder, utf8
from textgen.tokenizers.char import CharacterCounter

FIRST = END + 1  # the first id of a learnt piece
LONGEST = 64  # bytes or characters of a piece; longer ones are learnt by heart, not of use
_BYTES = [bytes((byte,)) for byte in range(END)]
_CHUNK = 1 << 14  # characters
# A model must meet a token often to learn it, and each one makes every step dearer: a token kind
# for 500 bytes gives 2,000 for a book of a megabyte, and each some hundred appearances in it.
_BYTES_PER_KIND = 500
_LEAST_DEFAULT, _LARGEST_DEFAULT = 512, 8192


class PieceTokenizer(TokenizerKind):
    """``pieces`` are the bytes that the ids from ``FIRST`` on stand for."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        if FIRST + len(pieces) > LARGEST_VOCABULARY:
            raise InvalidBundle(
                f"The vocabulary has {FIRST + len(pieces):,} ids; {LARGEST_VOCABULARY:,} is the "
                "most.",
                param="tokenizer",
            )
        self._bytes = [*_BYTES, b"", *pieces]
        self._cut: npt.NDArray[np.bool_] = np.array(
            [ends_within_a_character(p) for p in self._bytes]
        )

    @property
    def vocab_size(self) -> int:
        """The bytes, the end and the pieces."""
        return len(self._bytes)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """Only the end: every text can be written in bytes."""
        return {"end": END}

    @abstractmethod
    def _ids(self, text: str) -> list[int]:
        """The ids of a text that has no half surrogate pair."""

    def encode(self, text: str) -> Ids:
        """The ids of the pieces; bytes for what is in none of them."""
        utf8(text)
        return np.array(self._ids(text), self.dtype)

    def encode_documents(self, texts: Iterable[str]) -> Ids:
        """Each text's ids, followed by the end."""
        ids: list[int] = []
        for text in texts:
            utf8(text)
            ids += self._ids(text)
            ids.append(END)
        return np.array(ids, self.dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """The bytes as UTF-8; a character cut by an end does not go on after it."""
        array = self._checked(ids)
        parts = np.split(array, np.flatnonzero(array == END))
        joined = (b"".join(map(self._bytes.__getitem__, part.tolist())) for part in parts)
        return "".join(text.decode("utf-8", "replace") for text in joined)

    def decoder(self) -> IncrementalDecoder:
        """A decoder that holds bytes back until they make a character."""
        return ByteDecoder(self._bytes)

    def token_text(self, token: int) -> str:
        r"""The piece, or ``bytes:\xe4`` for what is only a part of a character."""
        self._checked([token])
        try:
            return self._bytes[token].decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self._bytes[token])

    def token_bytes(self, token: int) -> bytes:
        """The piece; nothing for the end."""
        return self._bytes[token]

    def count_unknown(self, text: str) -> Counter[str]:  # noqa: ARG002 - none can be
        """Always empty."""
        return Counter()

    def count_spelt(self, ids: Ids) -> int:
        """Characters that are in no piece as a whole: each has one token in which it begins."""
        return int(np.count_nonzero(self._cut[ids]))


def ends_within_a_character(piece: bytes) -> bool:
    """Whether the last character that begins in these bytes of UTF-8 does not end in them."""
    for length in range(1, min(len(piece), 3) + 1):
        lead = piece[-length]
        if lead >= 0xC0:
            return length < (2 if lead < 0xE0 else 3 if lead < 0xF0 else 4)
        if lead < 0x80:
            return False
    return False


class PieceLearner(Learner):
    """Keeps a sample of the text, and at the end makes a vocabulary of it."""

    sample_limit: ClassVar[int] = 1 << 22  # characters; the library keeps each different word
    spells: ClassVar[bool] = True  # whether characters that are in no longer piece get an id

    def __init__(self, vocab_size: int | None) -> None:
        self._vocab_size = vocab_size
        self._sample = Sample(self.sample_limit)
        self._size = 0

    def add(self, text: str) -> None:
        """Take in one piece of the training text."""
        self._size += len(utf8(text))
        self._sample.add(text)

    def add_documents(self, texts: Iterable[str]) -> None:
        """Take in whole documents, each for itself."""
        for text in texts:
            self.add(text)

    def finish(self) -> Tokenizer:
        """The tokenizer, of fewer ids than asked for where the text has no more pieces."""
        texts = self._sample.texts
        characters = common_characters(texts) if self.spells else []
        size = self._vocab_size or default_vocab_size(self._size, len(characters))
        room = max(size - FIRST, 0)
        return self._learn(texts, characters[: room * 3 // 4], room)

    @abstractmethod
    def _learn(self, texts: Sequence[str], characters: Sequence[str], room: int) -> Tokenizer:
        """A tokenizer of at most ``room`` pieces, ``characters`` among them."""


class Sample:
    """At most ``limit`` characters from all over a text of any length, always the same ones."""

    def __init__(self, limit: int) -> None:
        self.texts: list[str] = []
        self._limit = limit
        self._held = 0
        self._seen = 0
        self._every = 1  # each so many'th chunk is kept

    def add(self, text: str) -> None:
        """Take in a text, in chunks."""
        for start in range(0, len(text), _CHUNK):
            if self._seen % self._every == 0:
                self.texts.append(text[start : start + _CHUNK])
                self._held += len(self.texts[-1])
            self._seen += 1
            if self._held > self._limit and len(self.texts) > 1:
                self.texts = self.texts[::2]
                self._held = sum(map(len, self.texts))
                self._every *= 2


def default_vocab_size(size: int, characters: int) -> int:
    """How many ids for a training text of ``size`` bytes; ``characters`` need an id each.

    They get three quarters of the pieces at most, so that a Chinese text has words too.
    """
    by_size = min(max(size // _BYTES_PER_KIND, _LEAST_DEFAULT), _LARGEST_DEFAULT)
    return min(max(by_size, FIRST + characters * 4 // 3), 2 * _LARGEST_DEFAULT)


def common_characters(texts: Iterable[str]) -> list[str]:
    """The characters beyond ASCII, the commonest first.

    What was seen once cannot be learnt and is left to bytes.
    """
    counter = CharacterCounter()
    for text in texts:
        counter.add(text)
    counts = counter.counts()
    beyond = [each for each, count in counts.items() if each > "\x7f" and count > 1]
    return sorted(beyond, key=lambda each: (-counts[each], each))


def checked_texts(texts: Any) -> list[str]:
    """A model file's list of pieces; InvalidBundle where that is not what it is."""
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidBundle("The pieces of the vocabulary must be texts.", param="tokenizer")
    if not all(0 < len(text) <= LONGEST for text in texts):
        raise InvalidBundle(
            f"A piece of the vocabulary has not 1 to {LONGEST} characters.", param="tokenizer"
        )
    if len(set(texts)) != len(texts):
        raise InvalidBundle("The vocabulary holds a piece twice.", param="tokenizer")
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        raise InvalidBundle("The vocabulary holds half a surrogate pair.", param="tokenizer")
    return texts
