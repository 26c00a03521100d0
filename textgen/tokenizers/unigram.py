"""A vocabulary of likely pieces; a text is cut where that is likeliest (Kudo 2018).

It needs no spaces, so it finds the words of a Chinese text too. The library cuts. Its own trainer
adds up in the order of a hash table, so two runs give two vocabularies; learning is done here, in
the same steps, but with counts of the likeliest cut: whole numbers, in every run the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidBundle
from textgen.options import TokenizerName
from textgen.tokenizers.base import Learner, Tokenizer
from textgen.tokenizers.byte import END
from textgen.tokenizers.pieces import (
    FIRST,
    PieceLearner,
    PieceTokenizer,
    checked_texts,
)

# The library is loaded when a text is encoded, not by who only reads a model file's header.
if TYPE_CHECKING:
    import tokenizers

_LONGEST = 16  # characters of a learnt piece, as in SentencePiece
_SEEDS = 4  # times the vocabulary, to begin with
_KEPT = 0.75  # of the pieces, each round
_BATCH = 10_000  # words
# No piece goes over a word's end; a word has its space before it.
_WORDS = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
# The library asks for a piece that stands for unknown characters. NUL is in no other one.
_UNKNOWN = "\0"


class UnigramTokenizer(PieceTokenizer):
    """``scores`` are pieces with the logarithms of their probabilities.

    ASCII characters among them have their ids among the bytes.
    """

    name: TokenizerName = "unigram"

    def __init__(self, scores: Mapping[str, float]) -> None:
        own = [piece for piece in scores if not _is_byte(piece)]
        super().__init__([piece.encode() for piece in own])
        self.scores = dict(scores)
        index = {piece: FIRST + position for position, piece in enumerate(own)}
        # From the library's ids; the unknown becomes END, which is then replaced by bytes.
        self._table: npt.NDArray[np.int64] = np.array(
            [END, *(ord(piece) if _is_byte(piece) else index[piece] for piece in scores)], np.int64
        )

    @classmethod
    def learner(cls, vocab_size: int | None = None) -> Learner:
        """Finds pieces in a sample."""
        return _UnigramLearner(vocab_size)

    @cached_property
    def _library(self) -> tokenizers.Tokenizer:
        from tokenizers.pre_tokenizers import Split

        library = _library(self.scores)
        library.pre_tokenizer = Split(_pattern(), "isolated")
        return library

    def _ids(self, text: str) -> list[int]:
        encoded = self._library.encode(text, add_special_tokens=False)
        ids: list[int] = self._table[encoded.ids].tolist()
        if END not in ids:
            return ids
        found: list[int] = []
        for token, (start, end) in zip(ids, encoded.offsets, strict=True):
            found += text[start:end].encode() if token == END else (token,)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The name, the pieces and their scores."""
        return {
            "name": self.name,
            "pieces": list(self.scores),
            "scores": list(self.scores.values()),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Refuse anything but a name, distinct pieces and as many finite scores."""
        if set(data) != {"name", "pieces", "scores"}:
            raise InvalidBundle(
                "The unigram tokenizer needs its lists 'pieces' and 'scores', and nothing else.",
                param="tokenizer",
            )
        pieces, scores = checked_texts(data["pieces"]), data["scores"]
        if any(_UNKNOWN in piece for piece in pieces):
            raise InvalidBundle("A piece of the vocabulary holds NUL.", param="tokenizer")
        if not isinstance(scores, list) or len(scores) != len(pieces):
            raise InvalidBundle("Each piece needs one score.", param="tokenizer")
        if not all(type(score) is float and -1e6 < score <= 0 for score in scores):
            raise InvalidBundle(
                "A score is the logarithm of a probability: a number up to 0.", param="tokenizer"
            )
        return cls(dict(zip(pieces, scores, strict=True)))


class _UnigramLearner(PieceLearner):
    sample_limit = 1 << 21  # every substring is counted

    def _learn(self, texts: Sequence[str], characters: Sequence[str], room: int) -> Tokenizer:
        words = _count_words(texts)
        seen = set[str]().union(*words) - {_UNKNOWN}
        alphabet = {character for character in seen if _is_byte(character)}.union(characters)
        return UnigramTokenizer(_learn(words, alphabet, room - len(characters)))


def _learn(words: Counter[str], alphabet: set[str], room: int) -> dict[str, float]:
    """Scores of the alphabet and of at most ``room`` longer pieces.

    From many pieces those go whose loss makes the words least unlikely, some at a time.
    """
    counts = _seeds(words, alphabet, _SEEDS * room)
    while True:
        for _ in range(2):
            counts = _usage(words, _scores(counts), alphabet)
        longer = [piece for piece in counts if len(piece) > 1]
        if len(longer) <= room:
            return _scores(counts)
        scores = _scores(counts)
        losses = {piece: counts[piece] * _loss(piece, scores) for piece in longer}
        longer.sort(key=lambda piece: (-losses[piece], piece))
        kept = alphabet.union(longer[: max(room, int(_KEPT * len(longer)))])
        counts = {piece: count for piece, count in counts.items() if piece in kept}


def _seeds(words: Counter[str], alphabet: set[str], most: int) -> dict[str, int]:
    """The alphabet, and the pieces of words that save the most characters."""
    counts = Counter[str]()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    found = {character: counts[character] for character in sorted(alphabet)}
    longer: dict[str, int] = {}
    shorter = set(alphabet)
    for length in range(2, _LONGEST + 1):  # a piece is as common as its parts at most
        counts = Counter()
        for word, count in words.items():
            for start in range(len(word) - length + 1):
                piece = word[start : start + length]
                if piece[:-1] in shorter and piece[1:] in shorter:
                    counts[piece] += count
        shorter = {piece for piece, count in counts.items() if count > 1}
        longer.update((piece, counts[piece]) for piece in shorter)
    ranked = sorted(longer, key=lambda piece: (-longer[piece] * len(piece), piece))
    return found | {piece: longer[piece] for piece in ranked[:most]}


def _usage(words: Counter[str], scores: Mapping[str, float], alphabet: set[str]) -> dict[str, int]:
    """How often the likeliest cut of all words has each piece; unused longer ones are left out."""
    library = _library(scores)
    counts: npt.NDArray[np.int64] = np.zeros(len(scores) + 1, np.int64)
    waiting = iter(words.items())
    while batch := list(islice(waiting, _BATCH)):
        encoded = library.encode_batch_fast([word for word, _ in batch], add_special_tokens=False)
        ids = [encoding.ids for encoding in encoded]
        times = np.repeat([count for _, count in batch], [len(each) for each in ids])
        np.add.at(counts, np.concatenate(ids), times)
    pairs = zip(scores, counts[1:].tolist(), strict=True)
    return {piece: count for piece, count in pairs if count or piece in alphabet}


def _scores(counts: Mapping[str, int]) -> dict[str, float]:
    """Rounded, so that they do not depend on a machine's logarithm."""
    total = sum(max(count, 1) for count in counts.values())
    return {piece: round(math.log(max(count, 1) / total), 6) for piece, count in counts.items()}


def _loss(piece: str, scores: Mapping[str, float]) -> float:
    """How much less likely ``piece`` is when it must be made of others."""
    best = [0.0]
    for end in range(1, len(piece) + 1):
        first = 1 if end == len(piece) else 0
        best.append(
            max(
                best[start] + scores.get(piece[start:end], -math.inf) for start in range(first, end)
            )
        )
    return scores[piece] - best[-1]


def _count_words(texts: Iterable[str]) -> Counter[str]:
    from tokenizers.pre_tokenizers import Split

    split = Split(_pattern(), "isolated")
    counts = Counter[str]()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(text))
    return counts


def _library(scores: Mapping[str, float]) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer as Library
    from tokenizers.models import Unigram

    return Library(Unigram([(_UNKNOWN, 0.0), *scores.items()], 0, False))


def _pattern() -> tokenizers.Regex:
    from tokenizers import Regex

    return Regex(_WORDS)


def _is_byte(piece: str) -> bool:
    return len(piece) == 1 and piece < "\x80"
