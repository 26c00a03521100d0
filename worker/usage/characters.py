"""Characters of a request: Unicode code points, whatever the model makes of them."""

from __future__ import annotations

from worker.contracts import Conversation, GenerateRequest


def characters_in(request: GenerateRequest) -> int:
    """Of its prompts and of what follows them; a token id counts as one character."""
    suffix = 0 if request.suffix is None else len(request.suffix)
    return sum(map(_length, request.prompts)) + suffix


def characters_echoed(request: GenerateRequest) -> int:
    """Of the prompts that stand before the answer's texts."""
    return sum(map(_length, request.prompts)) * request.n if request.echo else 0


def _length(prompt: str | tuple[int, ...] | Conversation) -> int:
    if isinstance(prompt, Conversation):
        return sum(len(turn.text) for turn in prompt.turns)
    return len(prompt)
