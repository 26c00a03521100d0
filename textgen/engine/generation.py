"""Completions of a list of prompts, all at once: the engine for callers who want to wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textgen.bundles.bundle import Bundle
from textgen.engine.engine import Engine, Request
from textgen.engine.kernels.kernel import Weights
from textgen.engine.requests import FinishReason
from textgen.options import SamplingOptions

_SLOTS = 128


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after one prompt."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


def generate(
    bundle: Bundle,
    prompts: Sequence[str],
    options: SamplingOptions,
    *,
    seed: int,
    weights: Weights = "float32",
) -> list[Completion]:
    """One completion for each prompt, in their order.

    Equal prompts get equal texts; give different seeds for different ones. ``weights`` as in
    Engine.
    """
    count = max(len(prompts), 1)
    engine = Engine(bundle, slots=min(_SLOTS, count), queue=count, weights=weights)
    for index, prompt in enumerate(prompts):
        engine.submit(Request(str(index), engine.tokenizer.encode(prompt), options, seed))
    texts: list[list[str]] = [[] for _ in prompts]
    tokens = [0] * len(prompts)
    ends: dict[int, tuple[FinishReason, int]] = {}
    while engine.busy:
        for delta in engine.step():
            index = int(delta.id)
            texts[index].append(delta.text)
            tokens[index] += delta.tokens
            if delta.finish_reason is not None:
                ends[index] = (delta.finish_reason, delta.prompt_tokens)
    return [
        Completion("".join(texts[index]), *ends[index], tokens[index])
        for index in range(len(prompts))
    ]
