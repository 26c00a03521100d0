"""Byte pair encoding: the commonest pair of neighbours becomes one token, again and again.

Sennrich et al. 2016, on bytes as in GPT-2: words with the space before them, no prefix added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from textgen.errors import InvalidBundle
from textgen.options import TokenizerName
from textgen.tokenizers.base import Learner, Tokenizer
from textgen.tokenizers.byte import END
from textgen.tokenizers.pieces import LONGEST, PieceLearner, PieceTokenizer

# The library is loaded when a text is encoded, not by who only reads a model file's header.
if TYPE_CHECKING:
    import tokenizers

_Merge = tuple[int, int]
# How the library writes bytes: those that are visible characters as these, others from 256 on.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
_LETTERS = {byte: chr(byte) for byte in _VISIBLE} | {
    byte: chr(256 + index) for index, byte in enumerate(_HIDDEN)
}
_BYTE_OF = {letter: byte for byte, letter in _LETTERS.items()}


class BpeTokenizer(PieceTokenizer):
    """``merges`` are pairs of ids, the first to be joined first."""

    name: TokenizerName = "bpe"

    def __init__(self, merges: Sequence[_Merge]) -> None:
        self.merges = tuple(merges)
        self._known = _pieces(self.merges)
        super().__init__(list(self._known)[END:])

    @classmethod
    def learner(cls, vocab_size: int | None = None) -> Learner:
        """Counts pairs in a sample."""
        return _BpeLearner(vocab_size)

    @cached_property
    def _library(self) -> tokenizers.Tokenizer:
        from tokenizers.models import BPE

        letters = {piece: "".join(map(_LETTERS.__getitem__, piece)) for piece in self._known}
        pairs = [
            (letters[self._bytes[left]], letters[self._bytes[right]]) for left, right in self.merges
        ]
        vocabulary = {letters[piece]: token for piece, token in self._known.items()}
        return _library(BPE(vocab=vocabulary, merges=pairs))

    def _ids(self, text: str) -> list[int]:
        return self._library.encode_batch_fast([text], add_special_tokens=False)[0].ids

    def to_dict(self) -> dict[str, Any]:
        """The name and the merges."""
        return {"name": self.name, "merges": [list(merge) for merge in self.merges]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Refuse anything but a name and pairs of ids that are known at their place."""
        merges = data.get("merges")
        if set(data) != {"name", "merges"} or not isinstance(merges, list):
            raise InvalidBundle(
                "The bpe tokenizer needs its list 'merges', and nothing else.", param="tokenizer"
            )
        for merge in merges:
            # bool is an int in Python
            if not isinstance(merge, list) or [type(each) for each in merge] != [int, int]:
                raise InvalidBundle("A merge must be a pair of ids.", param="tokenizer")
        if len({tuple(merge) for merge in merges}) != len(merges):
            raise InvalidBundle("The vocabulary holds a merge twice.", param="tokenizer")
        return cls([(left, right) for left, right in merges])


class _BpeLearner(PieceLearner):
    spells = False

    def _learn(
        self,
        texts: Sequence[str],
        characters: Sequence[str],  # noqa: ARG002 - made of bytes like all else
        room: int,
    ) -> Tokenizer:
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel
        from tokenizers.trainers import BpeTrainer

        library = _library(BPE())
        trainer = BpeTrainer(
            vocab_size=END + room,
            min_frequency=2,
            initial_alphabet=ByteLevel.alphabet(),
            max_token_length=LONGEST,
            show_progress=False,
        )
        library.train_from_iterator(iter(texts), trainer)
        learnt = json.loads(library.to_str())["model"]["merges"]
        known = {bytes((byte,)): byte for byte in range(END)}
        merges = []
        for pair in learnt:
            left, right = (bytes(map(_BYTE_OF.__getitem__, part)) for part in pair)
            merges.append((known[left], known[right]))
            known.setdefault(left + right, len(known) + 1)
        return BpeTokenizer(merges)


def _library(model: tokenizers.models.Model) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer as Library
    from tokenizers.pre_tokenizers import ByteLevel

    library = Library(model)
    library.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return library


def _pieces(merges: Sequence[_Merge]) -> dict[bytes, int]:
    """What the merges make, each with its id, after the bytes with theirs."""
    known = {bytes((byte,)): byte for byte in range(END)}
    texts = [*known, None]  # the end is nothing that could be joined
    for left, right in merges:
        size = len(texts)
        first = texts[left] if 0 <= left < size else None
        second = texts[right] if 0 <= right < size else None
        if first is None or second is None or len(first) + len(second) > LONGEST:
            raise InvalidBundle(
                f"The merge of {left} and {right} is not possible: they must be ids of bytes or "
                f"earlier pieces, and make at most {LONGEST} bytes.",
                param="tokenizer",
            )
        if first + second not in known:  # several pairs may make the same piece
            known[first + second] = size
            texts.append(first + second)
    return known
