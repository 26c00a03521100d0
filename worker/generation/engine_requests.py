"""From one message of a client's to the engine's requests, one a choice."""

from __future__ import annotations

import numpy as np

from textgen.corpus.documents import Turn
from textgen.engine.context import TokenIds, conversation_ids
from textgen.engine.engine import Request
from textgen.engine.text_state import TextState
from textgen.tokenizers import Tokenizer
from worker.contracts import Conversation, Gap, GenerateRequest
from worker.generation.text_policy import refuse_blocked_ids


def engine_requests(
    request: GenerateRequest, tokenizer: Tokenizer, *, interactive: bool
) -> list[Request]:
    """Every prompt ``n`` times; the engine refuses what it cannot do.

    Their ids are the request's, a slash, and the choice. BlockedWord where a prompt of token ids
    holds one.
    """
    refuse_blocked_ids(request, tokenizer)
    suffix = None if request.suffix is None else tokenizer.encode(request.suffix)
    start = None if request.state is None else TextState.unpack(request.state)
    pieces = []
    for number, prompt in enumerate(request.prompts):
        ids = _prompt_ids(prompt, tokenizer)
        after = tokenizer.encode(prompt.after) if isinstance(prompt, Gap) else suffix
        pieces += [
            Request(
                id=f"{request.id}/{number * request.n + choice}",
                prompt=ids,
                options=request.options,
                blocked=request.blocked,
                seed=request.seed,
                choice=choice,
                echo=request.echo,
                interactive=interactive,
                suffix=after,
                task=request.task,
                tenant=request.tenant,
                logprobs=request.logprobs,
                ranked=request.ranked,
                start=start,
                return_state=request.return_state,
                alternatives=request.alternatives,
                gathered=True,
            )
            for choice in range(request.n)
        ]
    return pieces


def _prompt_ids(
    prompt: str | tuple[int, ...] | Conversation | Gap, tokenizer: Tokenizer
) -> TokenIds:
    if isinstance(prompt, Gap):
        return tokenizer.encode(prompt.before)
    if isinstance(prompt, Conversation):
        turns = [Turn(each.text, mark=each.role) for each in prompt.turns]
        return conversation_ids(tokenizer, turns)
    return tokenizer.encode(prompt) if isinstance(prompt, str) else np.asarray(prompt)
