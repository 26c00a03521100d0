"""How likely the model found a token: its own distribution, before any option has changed it.

At temperature 1, over all V tokens, those that are never drawn among them: what the model's full
forward pass gives. vLLM reports the same (docs/decisions/sampling.md).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scored:
    """A token with its log-probability, in nats, and those of the likeliest at its place, by text.

    ``top`` has the token itself too. Both are None of a text's first token, which has nothing
    before it to be likely after.
    """

    token: int
    text: str
    logprob: float | None
    top: dict[str, float] | None

    def at(self, offset: int) -> TokenLogprob:
        """In its text."""
        return TokenLogprob(self.token, self.text, self.logprob, self.top, offset)

    def as_first(self) -> Scored:
        """As the first token of a text."""
        return Scored(self.token, self.text, None, None)


@dataclass(frozen=True, slots=True)
class TokenLogprob(Scored):
    """``offset`` is where the token begins in the text, in characters, the echoed prompt included.

    A token that only goes on with a character has the offset of that character.
    """

    offset: int
