"""What a tenant wants of generated text: a label behind it, and words that do not occur.

Blocked words are matched as they are written. A prompt with one is refused; a text ends before
one, which the engine finds in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from textgen.errors import InvalidInput
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
        for text in _texts(request):
            if any(word in text for word in self.blocked):
                raise BlockedWord(
                    "The prompt holds a word that this project blocks. Leave it out.",
                    param="prompt",
                )
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


def _ends_a_text(delta: ChoiceDelta) -> bool:
    made = delta.chances is None and delta.vector is None
    return made and delta.finish_reason is not None


def _texts(request: GenerateRequest) -> Iterator[str]:
    if request.suffix is not None:
        yield request.suffix
    for prompt in request.prompts:
        if isinstance(prompt, Conversation):
            yield from (turn.text for turn in prompt.turns)
        elif isinstance(prompt, Gap):
            yield prompt.before + prompt.after
        elif isinstance(prompt, str):
            yield prompt
