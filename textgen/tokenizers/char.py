"""A closed alphabet of characters (Unicode code points), learnt from the training text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidBundle
from textgen.options import TokenizerName
from textgen.tokenizers.base import (
    REPLACEMENT,
    Ids,
    IncrementalDecoder,
    Learner,
    Tokenizer,
    TokenizerKind,
    lone_surrogate,
)

UNKNOWN = 0
END = 1
_SPECIAL = 2  # how many ids stand before the characters
_CODE_POINTS = 0x110000
# Half a surrogate pair is in no text that a reader lets through, so it can stand for the end of
# a document while texts are joined.
_SEPARATOR = "\ud800"


class CharTokenizer(TokenizerKind):
    """Id 0 is any unknown character, 1 the end of a document, then ``characters`` in order."""

    name: TokenizerName = "char"

    def __init__(self, characters: str) -> None:
        if len(set(characters)) != len(characters):
            raise InvalidBundle("The alphabet holds a character twice.", param="tokenizer")
        points = code_points(characters)
        self.characters = characters
        self._texts: list[str] = [REPLACEMENT, "", *characters]
        self._points: npt.NDArray[np.uint32] = np.concatenate(
            [np.array([ord(REPLACEMENT), 0], "<u4"), points]
        )
        # One entry a code point: a look-up by index is what makes encoding fast.
        self._table: Ids = np.full(_CODE_POINTS, UNKNOWN, self.dtype)
        self._table[points] = np.arange(_SPECIAL, self.vocab_size, dtype=self.dtype)
        self._table[ord(_SEPARATOR)] = END

    @classmethod
    def train(cls, counts: Mapping[str, int], vocab_size: int | None = None) -> CharTokenizer:
        """The alphabet of the commonest characters, at most ``vocab_size`` ids in all.

        Of two equally common ones the lower code point wins; ids are in code-point order.
        """
        room = None if vocab_size is None else max(vocab_size - _SPECIAL, 0)
        ranked = sorted(counts, key=lambda character: (-counts[character], character))
        return cls("".join(sorted(ranked[:room])))

    @classmethod
    def learner(cls, vocab_size: int | None = None) -> Learner:
        """Counts characters."""
        return _CharLearner(vocab_size)

    @property
    def vocab_size(self) -> int:
        """Unknown, end, and the characters."""
        return _SPECIAL + len(self.characters)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """Unknown and the end."""
        return {"unknown": UNKNOWN, "end": END}

    def encode(self, text: str) -> Ids:
        """One id a character."""
        ids: Ids = self._table[code_points(text)]
        return ids

    def encode_documents(self, texts: Iterable[str]) -> Ids:
        """One id a character, and the end after each text."""
        documents = list(texts)
        joined = _SEPARATOR.join([*documents, ""])
        points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")
        if np.count_nonzero(points - 0xD800 < 0x800) != len(documents):
            for document in documents:
                code_points(document)  # names the character at fault
        ids: Ids = self._table[points]
        return ids

    def decode(self, ids: npt.ArrayLike) -> str:
        """One character an id, U+FFFD for unknown, nothing for the end."""
        array = self._checked(ids)
        points: bytes = self._points[array[array != END]].tobytes()
        return points.decode("utf-32-le")

    def decoder(self) -> IncrementalDecoder:
        """A decoder that gives each character at once."""
        return _CharDecoder(self._texts)

    def token_text(self, token: int) -> str:
        """The character."""
        self._checked([token])
        return self._texts[token]

    def token_bytes(self, token: int) -> bytes:
        """The character's."""
        return self._texts[token].encode()

    def count_unknown(self, text: str) -> Counter[str]:
        """The characters outside the alphabet."""
        points = code_points(text)
        counter = CharacterCounter()
        counter.add_points(points[self._table[points] == UNKNOWN])
        return counter.counts()

    def to_dict(self) -> dict[str, Any]:
        """The name and the alphabet."""
        return {"name": self.name, "characters": self.characters}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Refuse anything but a name and a string of distinct characters."""
        characters = data.get("characters")
        if set(data) != {"name", "characters"} or not isinstance(characters, str):
            raise InvalidBundle(
                "The char tokenizer needs its alphabet, a string 'characters', and nothing else.",
                param="tokenizer",
            )
        if any("\ud800" <= character <= "\udfff" for character in characters):
            raise InvalidBundle("The alphabet holds half a surrogate pair.", param="tokenizer")
        return cls(characters)


class CharacterCounter:
    """How often each character occurs in texts that come in pieces; memory grows with none."""

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(_CODE_POINTS, np.int64)

    def add(self, text: str) -> None:
        """Count the characters of ``text``."""
        self.add_points(code_points(text))

    def add_points(self, points: npt.NDArray[np.uint32]) -> None:
        """Count characters given as code points."""
        # A short text has few distinct characters but may have a high one, for which bincount
        # would make a million zeros.
        if points.size < 50_000:
            distinct, counts = np.unique(points, return_counts=True)
            self._counts[distinct] += counts
            return
        counted = np.bincount(points)
        self._counts[: counted.size] += counted

    def counts(self) -> Counter[str]:
        """The characters seen, each with its count, in code-point order."""
        seen = np.flatnonzero(self._counts)
        pairs = zip(seen.tolist(), self._counts[seen].tolist(), strict=True)
        return Counter({chr(point): count for point, count in pairs})


class _CharLearner(Learner):
    def __init__(self, vocab_size: int | None) -> None:
        self._counter = CharacterCounter()
        self._vocab_size = vocab_size

    def add(self, text: str) -> None:
        self._counter.add(text)

    def finish(self) -> Tokenizer:
        return CharTokenizer.train(self._counter.counts(), self._vocab_size)


class _CharDecoder(IncrementalDecoder):
    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def push(self, token: int) -> str:
        return self._texts[token]

    @property
    def within_character(self) -> bool:
        return False

    def finish(self) -> str:
        return ""


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """The code points of ``text``; InvalidInput where it holds half a surrogate pair."""
    try:
        return np.frombuffer(text.encode("utf-32-le"), "<u4")
    except UnicodeEncodeError as error:
        raise lone_surrogate(error) from None
