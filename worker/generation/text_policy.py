"""What a tenant wants of generated text: a label behind it, and words that do not occur.

Blocked words are matched as they are written. A prompt with one is refused: before it is sent,
where it is a text; one of token ids by the engine, which can read them. A generated text ends
before one, which the engine finds in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from textgen.engine.context import PARAMS
from textgen.errors import InvalidInput
from textgen.tokenizers import Tokenizer
from worker.contracts import ChoiceDelta, Conversation, Gap, GenerateRequest


class BlockedWord(InvalidInput):
    """A prompt holds a word that its project blocks."""

    default_code = "blocked_word"


@dataclass(frozen=True, slots=True)
class TextPolicy:
    """Off by default: nothing is added and nothing is blocked."""

    label: str = ""
    blocked: tuple[str, ...] = ()

    def admitted(self, request: GenerateRequest) -> GenerateRequest:
        """The request with its texts to end before a blocked word; raises BlockedWord."""
        if not self.blocked:
            return request
        for param, text in _texts(request):
            _refuse_blocked(self.blocked, param, text)
        return request.model_copy(update={"blocked": self.blocked})

    def labelled(self, deltas: Sequence[ChoiceDelta]) -> tuple[ChoiceDelta, ...]:
        """The deltas, with the label behind the last text of each choice."""
        if not self.label:
            return tuple(deltas)
        return tuple(
            replace(delta, text=delta.text + self.label) if _ends_a_text(delta) else delta
            for delta in deltas
        )


NO_POLICY = TextPolicy()


def refuse_blocked_ids(request: GenerateRequest, tokenizer: Tokenizer) -> None:
    """Raise BlockedWord where a prompt of token ids holds a blocked word of the request.

    One that is not of the tokenizer's ids is passed over; the engine refuses it.
    """
    for prompt in request.prompts if request.blocked else ():
        if isinstance(prompt, tuple) and all(0 <= each < tokenizer.vocab_size for each in prompt):
            param = PARAMS[request.task]
            _refuse_blocked(request.blocked, param, tokenizer.decode(np.asarray(prompt, np.int64)))


def _refuse_blocked(words: Sequence[str], param: str, text: str) -> None:
    found = next((word for word in words if word in text), None)
    if found is not None:
        raise BlockedWord(
            f"{param!r} holds {found!r}, which this project blocks. Leave it out.", param=param
        )


def _ends_a_text(delta: ChoiceDelta) -> bool:
    made = delta.chances is None and delta.vector is None
    return made and delta.finish_reason is not None


def _texts(request: GenerateRequest) -> Iterator[tuple[str, str]]:
    """What it reads, each with the field of the client's that it came in."""
    param = PARAMS[request.task]
    if request.suffix is not None:
        yield "suffix", request.suffix
    for prompt in request.prompts:
        if isinstance(prompt, Conversation):
            yield from ((param, turn.text) for turn in prompt.turns)
        elif isinstance(prompt, Gap):
            yield "input", prompt.before + prompt.after
        elif isinstance(prompt, str):
            yield param, prompt
