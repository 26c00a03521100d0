"""Word vectors in the text format of word2vec, GloVe and fastText (.vec): read as they stream by.

A line is a word and its numbers, with a space between any two. word2vec and fastText begin with a
line of two whole numbers: how many vectors there are, and of how many numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidCorpus
from textgen.options import LARGEST_EMBEDDING, SMALLEST_EMBEDDING
from textgen.tokenizers import Tokenizer

_LONGEST_LINE = 1 << 18  # bytes: 4,096 numbers of 64 digits
_EXACT, _LOWER = 2, 1  # how good a match is: as written, or in small letters


@dataclass(frozen=True, slots=True)
class FoundVectors:
    """What a file has for a vocabulary of V tokens."""

    table: npt.NDArray[np.float32]  # (V, E), zeros where nothing was found
    found: npt.NDArray[np.bool_]  # (V,)
    words: npt.NDArray[np.bool_]  # (V,) tokens with a letter or digit: those that could be found
    lines: int  # vectors in the file


class WordVectors:
    """A file of vectors; its first lines are looked at when this is made, no more.

    ``name`` is what its owner calls it. InvalidCorpus ``invalid_word_vectors``, naming the line,
    for a file that is none.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = path.name if name is None else name
        with path.open("rb") as file:
            first = self._fields(file.readline(_LONGEST_LINE + 1), 1)
        self._told = _head(first)
        self.size = len(first) - 1 if self._told is None else self._told[1]
        if not SMALLEST_EMBEDDING <= self.size <= LARGEST_EMBEDDING:
            self._refuse(
                1,
                f"it speaks of vectors of {self.size:,} numbers; {SMALLEST_EMBEDDING} to "
                f"{LARGEST_EMBEDDING:,} can be read. A file of word vectors is text: a word and "
                "its numbers a line, as .vec files of fastText and .txt files of GloVe have it",
            )

    def sha256(self) -> str:
        """Of the whole file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def of(self, tokenizer: Tokenizer) -> FoundVectors:
        """The vectors of a vocabulary: of each token the word that it is, without spaces around.

        A word in other letters than the file has gets the vector of its small letters; of a word
        that is there twice the first counts. Memory is that of the result. InvalidCorpus for a line
        that is wrong, or where the file is shorter than its first line says.
        """
        exact, lower, words = _wanted(tokenizer)
        table = np.zeros((tokenizer.vocab_size, self.size), np.float32)
        match = np.zeros(tokenizer.vocab_size, np.int8)
        count = 0
        for number, word, line in self._lines():
            count += 1
            if word not in exact and word not in lower:
                continue
            vector = self._numbers(line, number)
            for wanted, quality in ((exact, _EXACT), (lower, _LOWER)):
                for token in wanted.get(word, ()):
                    if match[token] < quality:
                        table[token], match[token] = vector, quality
        if self._told is not None and count < self._told[0]:
            self._refuse(
                count + 2,
                f"the file ends here, after {count:,} of the {self._told[0]:,} vectors that its "
                "first line tells of: it is cut off. Upload it whole",
            )
        return FoundVectors(table, match > 0, words, count)

    def _lines(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Number, word and line of each vector; every line has as many fields as there must be."""
        with self.path.open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE + 1):
                number += 1
                if number == 1 and self._told is not None:
                    continue
                line = line.rstrip()
                if not line:
                    continue
                spaces = line.count(b" ")
                if spaces < self.size or len(line) > _LONGEST_LINE:
                    self._refuse(
                        number,
                        f"{max(spaces, 0)} numbers where {self.size} are expected",
                    )
                # A word may hold spaces, as some of GloVe's do.
                word = line.split(b" ", 1)[0] if spaces == self.size else self._word(line)
                yield number, word, line

    def _word(self, line: bytes) -> bytes:
        return line.rsplit(b" ", self.size)[0]

    def _numbers(self, line: bytes, number: int) -> npt.NDArray[np.float32]:
        try:
            vector = np.array(line.rsplit(b" ", self.size)[1:], np.float64)
        except ValueError:
            self._refuse(number, "what stands behind the word are not all numbers")
        if not np.abs(vector).max() < np.finfo(np.float32).max:
            self._refuse(number, "a number is not finite")
        return vector.astype(np.float32)

    def _fields(self, line: bytes, number: int) -> list[bytes]:
        if len(line) > _LONGEST_LINE or b"\0" in line:
            self._refuse(number, "this is no text of words and numbers. Unpack it, if it is packed")
        fields = line.split()
        if len(fields) < 2:
            self._refuse(number, "a word and its numbers are expected, with spaces between them")
        return fields

    def _refuse(self, number: int, what: str) -> NoReturn:
        raise InvalidCorpus(
            f"{self.name}, line {number:,}: {what}.",
            code="invalid_word_vectors",
            param="embeddings_file",
        ) from None


def _head(first: list[bytes]) -> tuple[int, int] | None:
    """How many vectors of how many numbers, where the first line tells that and nothing else."""
    if len(first) == 2 and all(field.isdigit() and len(field) < 12 for field in first):
        return int(first[0]), int(first[1])
    return None


def _wanted(
    tokenizer: Tokenizer,
) -> tuple[dict[bytes, list[int]], dict[bytes, list[int]], npt.NDArray[np.bool_]]:
    """The tokens of each word as it is written and, where that differs, in small letters."""
    exact: dict[bytes, list[int]] = {}
    lower: dict[bytes, list[int]] = {}
    words = np.zeros(tokenizer.vocab_size, bool)
    special = set(tokenizer.special_ids.values())
    for token in range(tokenizer.vocab_size):
        if token in special:
            continue
        try:
            word = tokenizer.token_bytes(token).decode().strip()
        except UnicodeDecodeError:
            continue  # a part of a character
        if not word:
            continue
        words[token] = any(map(str.isalnum, word))
        exact.setdefault(word.encode(), []).append(token)
        if word.lower() != word:
            lower.setdefault(word.lower().encode(), []).append(token)
    return exact, lower, words
