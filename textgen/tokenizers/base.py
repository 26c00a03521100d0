"""What every tokenizer promises: text to ids and back.

Ids run from 0 to ``vocab_size - 1``. Some stand for no text: the special ids, which ``encode``
never makes from a text (but for unknown). Every tokenizer has ``end``, the boundary between two
documents; one with a closed alphabet has ``unknown``; others may be added under further names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from textgen.errors import InvalidInput
from textgen.options import Normalization, TokenizerName

Ids = npt.NDArray[np.unsignedinteger[Any]]
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class IncrementalDecoder(ABC):
    """Turns ids into text one by one; what it gives out never ends within a character.

    The texts of all pushes and of ``finish``, joined, are ``Tokenizer.decode`` of the same ids.
    """

    @abstractmethod
    def push(self, token: int) -> str:
        """The text that ``token`` completes, which may be empty."""

    def push_all(self, tokens: Sequence[int]) -> str:
        """The text that several tokens complete."""
        return "".join(map(self.push, tokens))

    @property
    @abstractmethod
    def within_character(self) -> bool:
        """Whether the ids so far stop within a character."""

    @abstractmethod
    def finish(self) -> str:
        """The replacement character where the ids stopped within a character, else nothing."""


class Learner(ABC):
    """Makes a tokenizer from texts that come in pieces, in memory that does not grow with them."""

    @abstractmethod
    def add(self, text: str) -> None:
        """Take in one piece of the training text."""

    def add_documents(self, texts: Iterable[str]) -> None:
        """Take in whole documents; where tokens are longer than characters, none joins two."""
        self.add("".join(texts))

    @abstractmethod
    def finish(self) -> Tokenizer:
        """The tokenizer for what was added."""


class Tokenizer(ABC):
    """Text to ids and back; immutable, safe to share between threads."""

    name: TokenizerName

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """How many ids there are, special ones included (V)."""

    @property
    @abstractmethod
    def special_ids(self) -> Mapping[str, int]:
        """The ids that stand for no text of their own, by name; ``end`` is always there."""

    @property
    def normalization(self) -> Normalization:
        """The form that texts are brought into before they are encoded."""
        return "none"

    @property
    def unknown_id(self) -> int | None:
        """The id of every character outside the alphabet; None where there are none such."""
        return self.special_ids.get("unknown")

    @property
    def end_id(self) -> int:
        """The id between two documents."""
        return self.special_ids["end"]

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The smallest of the two types in which ids are kept."""
        return np.uint16 if self.vocab_size <= 2**16 else np.uint32

    def generation_banned(self, *, documents: bool) -> tuple[int, ...]:
        """The ids that must never be drawn.

        All special ones, except ``end`` for a model that learnt from ``documents`` where they end.
        """
        allowed = {self.end_id} if documents else set()
        return tuple(sorted(set(self.special_ids.values()) - allowed))

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """The ids of ``text``. InvalidInput where it holds half a surrogate pair."""

    @abstractmethod
    def encode_documents(self, texts: Iterable[str]) -> Ids:
        """The ids of each text followed by ``end_id``, in one array."""

    @abstractmethod
    def decode(self, ids: npt.ArrayLike) -> str:
        """The text of ``ids``.

        ``end`` and other special ids have no text, unknown is U+FFFD, and so are bytes that make
        no character. InvalidInput where an id is out of range.
        """

    @abstractmethod
    def decoder(self) -> IncrementalDecoder:
        """A new decoder for one stream of ids."""

    @abstractmethod
    def token_text(self, token: int) -> str:
        r"""How to show one id to people.

        Its text; ``bytes:\xe4`` for what is only a part of a character; ``""`` for special ids,
        but U+FFFD for unknown.
        """

    @abstractmethod
    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 that one id adds to a text, which may be a part of a character; no checks."""

    def token_name(self, token: int) -> str:
        """``token_text``, and of a special id its name: ``<|end|>``."""
        text = self.token_text(token)
        if text:
            return text
        names = {special: name for name, special in self.special_ids.items()}
        return special_name(names[token]) if token in names else ""

    @abstractmethod
    def count_unknown(self, text: str) -> Counter[str]:
        """The characters of ``text`` that the tokenizer does not know, each with its count."""

    def count_spelt(self, ids: Ids) -> int:  # noqa: ARG002 - for those that spell
        """How many characters the ids write in parts, having no whole token for them."""
        return 0

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as JSON values, with its ``name``; ``load_tokenizer`` reads it back."""

    def _checked(self, ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        array = np.asarray(ids)
        if array.size == 0:
            return np.empty(0, np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise InvalidInput("Token ids must be a flat list of whole numbers.", code="bad_token")
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise InvalidInput(
                f"Token id {wrong} is out of range: this vocabulary has ids 0 to "
                f"{self.vocab_size - 1}.",
                code="bad_token",
            )
        return array.astype(np.int64, copy=False)


class TokenizerKind(Tokenizer):
    """A tokenizer that a corpus can be learnt for: one of those that have a name of their own."""

    @classmethod
    @abstractmethod
    def learner(cls, vocab_size: int | None = None) -> Learner:
        """Start learning a tokenizer of at most ``vocab_size`` ids (None: as many as needed)."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The tokenizer from ``to_dict``'s values; InvalidBundle on anything else."""


def special_name(name: str) -> str:
    """How people are shown a special id of that name."""
    return f"<|{name}|>"


def lone_surrogate(error: UnicodeEncodeError) -> InvalidInput:
    """The error for a text that holds half a surrogate pair, which is no character."""
    return InvalidInput(
        f"The text holds half a surrogate pair (U+{ord(error.object[error.start]):04X}) at "
        f"character {error.start}, which is no character; remove it.",
        code="lone_surrogate",
    )
