"""What a request brings: characters, Unicode code points whatever the model; and its tokens."""

from __future__ import annotations

from textgen.tokenizers import Tokenizer
from worker.contracts import Conversation, Gap, GenerateRequest


def characters_in(request: GenerateRequest) -> int:
    """Of its prompts and of what follows them; a token id counts as one character."""
    return sum(characters_by_prompt(request))


def characters_by_prompt(request: GenerateRequest) -> list[int]:
    """The same for each prompt; what follows all of them counts with the first."""
    counts = list(map(_length, request.prompts))
    counts[0] += 0 if request.suffix is None else len(request.suffix)
    return counts


def prompt_tokens(request: GenerateRequest, tokenizer: Tokenizer) -> int:
    """Tokens of its prompts and of what follows them, without those that frame them."""
    texts = [request.suffix or ""]
    ids = 0
    for prompt in request.prompts:
        if isinstance(prompt, Conversation):
            texts += [turn.text for turn in prompt.turns]
        elif isinstance(prompt, Gap):
            texts += [prompt.before, prompt.after]
        elif isinstance(prompt, str):
            texts.append(prompt)
        else:
            ids += len(prompt)
    return ids + sum(len(tokenizer.encode(text)) for text in texts)


def _length(prompt: str | tuple[int, ...] | Conversation | Gap) -> int:
    if isinstance(prompt, Gap):
        return len(prompt.before) + len(prompt.after)
    if isinstance(prompt, Conversation):
        return sum(len(turn.text) for turn in prompt.turns)
    return len(prompt)
