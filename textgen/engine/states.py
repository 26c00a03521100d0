"""The state at the end of a text, told while the text is drawn.

It stands for the text that was shown: without the end of a document, without a stop string. So a
text that goes on from it is the one that would go on from all that was sent and shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from textgen.engine.pending import pending_tokens, primed
from textgen.engine.text_state import TextState
from textgen.tokenizers import Tokenizer

_KEEP_EVERY = 8  # tokens; what was drawn after the last state that was kept is read again


@dataclass(frozen=True, slots=True)
class Ending:
    """A state to be: that of ``values`` (2, L, H; None for zeros) after all ``ids`` but the last.

    The other fields are `TextState`'s. Where there is but one id nothing is left to read.
    """

    values: Tensor | None
    ids: list[int]
    tokens: int
    pending: tuple[int, ...]
    rest: str

    def state(self, values: Tensor | None, shape: tuple[int, int, int], numerics: str) -> TextState:
        """The state, now that its ``values`` before the last id are known."""
        array = np.zeros(shape, np.float32)
        if values is not None:  # padded to whole vectors
            array[:] = values[..., : shape[-1]].cpu().numpy()
        return TextState(array, self.ids[-1], self.tokens, numerics, self.pending, self.rest)


def state_values(state: TextState, width: int, device: torch.device) -> Tensor:
    """A state's values (2, L, ``width``), padded with zeros."""
    values = torch.from_numpy(state.values)
    return functional.pad(values, (0, width - values.shape[-1])).to(device)


class StateTracker:
    """Follows one text from the state ``values`` (2, L, H; None for zeros) before ``token``.

    A text may end before its last tokens: at the beginning of a stop string, which was drawn
    token by token. So a state is kept every few tokens where all text is shown, and what came after
    it is remembered. ``tokens`` were read before, of which ``pending`` make no character yet.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        values: Tensor | None,
        token: int,
        tokens: int,
        pending: tuple[int, ...] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._decoder = primed(tokenizer, pending)
        self._begin(values, token, tokens, pending)

    def _begin(
        self, values: Tensor | None, token: int, tokens: int, pending: tuple[int, ...]
    ) -> None:
        self._values, self._token, self._tokens, self._pending = values, token, tokens, pending
        self._drawn: list[int] = []  # since then
        self._texts: list[str] = []  # what each of them completed
        self._given = 0  # characters shown since then

    def took(self, token: int, given: int) -> None:
        """Note a drawn token, after which ``given`` more characters were shown."""
        self._drawn.append(token)
        self._texts.append(self._decoder.push(token))
        self._given += given

    @property
    def due(self) -> bool:
        """Whether the present state should be kept."""
        return (
            len(self._drawn) >= _KEEP_EVERY
            and not self._decoder.within_character
            and self._given == sum(map(len, self._texts))
        )

    def keep(self, values: Tensor) -> None:
        """Keep the state (2, L, H) before the token that was drawn last."""
        pending = pending_tokens(self._tokenizer, self._pending, self._drawn)
        self._begin(values, self._drawn[-1], self._tokens + len(self._drawn), pending)

    def end(self, *, stopped: bool) -> Ending:
        """The state of the text as it was shown; ``stopped``: before its last token was."""
        count, rest = len(self._drawn), ""
        if stopped:
            count, rest = self._shown()
        drawn = self._drawn[:count]
        pending = pending_tokens(self._tokenizer, self._pending, drawn)
        return Ending(self._values, [self._token, *drawn], self._tokens + count, pending, rest)

    def _shown(self) -> tuple[int, str]:
        """How many of the tokens were shown as a whole, and what of the next one's text."""
        left = self._given
        for count, text in enumerate(self._texts):
            if left < len(text) or left == 0:
                return count, text[:left]
            left -= len(text)
        return len(self._texts), ""
