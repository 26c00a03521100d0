"""Answers that are read off the chances of the next token, where others draw one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from textgen.engine.requests import Alternative, Answer, Delta
from textgen.tokenizers import Tokenizer


def classified(running: Sequence[Answer], logits: Tensor, labels: Tensor) -> dict[int, Delta]:
    """The answers with the chances of ``labels`` (K,), by row that asks; ``logits`` (R, V)."""
    rows = [row for row, each in enumerate(running) if each.request.task == "classify"]
    found = logits[rows][:, labels].double().softmax(1).tolist() if rows else []
    return {
        row: running[row].classified(tuple(chances))
        for row, chances in zip(rows, found, strict=True)
    }


def chosen_from(
    running: Sequence[Answer], logits: Tensor, tokenizer: Tokenizer
) -> dict[int, Delta]:
    """The answers with the likeliest next tokens, by row that asks for them."""
    return {
        row: each.chosen_from(likeliest(logits[row], each.request.alternatives, tokenizer))
        for row, each in enumerate(running)
        if each.request.task == "choose"
    }


def likeliest(logits: Tensor, count: int, tokenizer: Tokenizer) -> tuple[Alternative, ...]:
    """At most ``count`` tokens by their logits (V,), the likeliest first, of equals the lower id.

    Tokens that are never drawn are left out.
    """
    found = logits.double().softmax(0).sort(descending=True, stable=True)
    pairs = zip(found.indices[:count].tolist(), found.values[:count].tolist(), strict=True)
    return tuple(
        Alternative(token, tokenizer.token_text(token), chance)
        for token, chance in pairs
        if chance > 0
    )
