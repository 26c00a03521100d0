"""Words, punctuation and spaces as tokens, for scripts that put spaces between words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Self

from textgen.errors import InvalidBundle
from textgen.options import TokenizerName
from textgen.tokenizers.base import Learner, Tokenizer
from textgen.tokenizers.byte import END
from textgen.tokenizers.pieces import (
    FIRST,
    LONGEST,
    PieceLearner,
    PieceTokenizer,
    checked_texts,
)


class WordTokenizer(PieceTokenizer):
    """``pieces`` are words and characters; what is no word among them is spelt.

    By characters, and those outside of them by bytes. ASCII has its ids among the bytes.
    """

    name: TokenizerName = "word"

    def __init__(self, pieces: Sequence[str]) -> None:
        super().__init__([piece.encode() for piece in pieces])
        self.pieces = tuple(pieces)
        ascii_ids = {chr(byte): byte for byte in range(128)}
        self._index = ascii_ids | {piece: FIRST + index for index, piece in enumerate(pieces)}

    @classmethod
    def learner(cls, vocab_size: int | None = None) -> Learner:
        """Counts words in a sample."""
        return _WordLearner(vocab_size)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = []
        index = self._index
        for word in _words().findall(text):
            token = index.get(word)
            if token is not None:
                ids.append(token)
                continue
            for character in word:
                token = index.get(character)
                ids += character.encode() if token is None else (token,)
        return ids

    def to_dict(self) -> dict[str, Any]:
        """The name and the pieces."""
        return {"name": self.name, "pieces": list(self.pieces)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Refuse anything but a name and distinct pieces that are not ASCII characters."""
        if set(data) != {"name", "pieces"}:
            raise InvalidBundle(
                "The word tokenizer needs its list 'pieces', and nothing else.", param="tokenizer"
            )
        pieces = checked_texts(data["pieces"])
        if any(len(piece) == 1 and piece < "\x80" for piece in pieces):
            raise InvalidBundle("The vocabulary holds a byte twice.", param="tokenizer")
        return cls(pieces)


class _WordLearner(PieceLearner):
    def _learn(self, texts: Sequence[str], characters: Sequence[str], room: int) -> Tokenizer:
        counts = Counter(chain.from_iterable(map(_words().findall, texts)))
        words = [word for word, count in counts.items() if count > 1 and 1 < len(word) <= LONGEST]
        words.sort(key=lambda word: (-counts[word], word))
        return WordTokenizer([*characters, *words[: room - len(characters)]])


@cache
def _words() -> re.Pattern[str]:
    """Finds words with their combining marks, runs of spaces, and other characters one by one."""
    marks = "".join(
        chr(point)
        for point in range(END, 0x20000)
        if unicodedata.category(chr(point)).startswith("M")
    )
    return re.compile(rf"[\w{marks}]+| +|[^\w{marks}]")
