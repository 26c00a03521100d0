"""What drawing needs to know of a tokenizer's tokens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from textgen.engine.piece_tree import PieceTree
from textgen.errors import InvalidOption
from textgen.options import SamplingOptions
from textgen.tokenizers import Tokenizer

Ids = npt.NDArray[np.int64]
_TABLES = 64  # that a vocabulary keeps


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """``pieces`` are the bytes that each token writes; ``end`` is the token between documents.

    ``names`` are what people are shown of each.
    """

    pieces: Sequence[bytes]
    end: int
    names: Sequence[str] = ()
    _tables: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """A tokenizer's."""
        pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        names = list(map(_shown, pieces))
        for name, token in tokenizer.special_ids.items():
            names[token] = names[token] or f"<|{name}|>"
        return cls(pieces, tokenizer.end_id, names)

    def __len__(self) -> int:
        return len(self.pieces)

    def check(self, options: SamplingOptions) -> None:
        """InvalidOption where an option names a token that there is not."""
        allowed = options.allowed_token_ids
        named = {
            "logit_bias": options.logit_bias,
            "allowed_token_ids": () if allowed is None else allowed,
            "stop_token_ids": options.stop_token_ids,
        }
        for param, tokens in named.items():
            largest = max(tokens, default=0)
            if largest >= len(self):
                raise InvalidOption(
                    f"{param!r} has the token id {largest}; this model knows 0 to {len(self) - 1}.",
                    param=param,
                )

    @cached_property
    def tree(self) -> PieceTree:
        """The tokens by what they begin with."""
        return PieceTree(self.pieces)

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gives for this vocabulary, kept for others that ask by the same key.

        Those that were asked for last are kept.
        """
        found = self._tables.pop(key) if key in self._tables else make()
        self._tables[key] = found
        while len(self._tables) > _TABLES:
            del self._tables[next(iter(self._tables))]
        return found


def _shown(piece: bytes) -> str:
    """As `Tokenizer.token_text` shows it; for a whole vocabulary that would take a while."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
