"""Going on from a model on a text with other symbols: its weights, fitted to a wider vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from textgen.model import TextGenerator
from textgen.options import ModelOptions
from textgen.tokenizers import Tokenizer


def fitted_to(
    model: TextGenerator, options: ModelOptions, old: Tokenizer, new: Tokenizer
) -> TextGenerator:
    """``model``, which knows ``old``, with the ids of ``new``; itself where they are the same.

    A symbol that both have keeps its weights, whatever its id. A new one begins as the mean of all
    others, and as unlikely as the least likely of them.
    """
    if _identities(old) == _identities(new):
        return model
    with torch.random.fork_rng(devices=[]):  # the first weights are random, and are overwritten
        wider = TextGenerator.from_options(new.vocab_size, options)
    places = {identity: token for token, identity in enumerate(_identities(old))}
    sources = torch.tensor([places.get(identity, -1) for identity in _identities(new)])
    weights = model.state_dict()
    for name in ("embedding.weight", "output.weight"):
        weights[name] = _rows(weights[name], sources, weights[name].mean(0))
    bias = weights["output.bias"]
    weights["output.bias"] = _rows(bias, sources, bias.min())
    wider.load_state_dict(weights)
    wider.set_dropouts(options)
    return wider


def _rows(old: Tensor, sources: Tensor, new: Tensor) -> Tensor:
    """Row i is row ``sources[i]`` of ``old``; ``new`` where that is -1."""
    rows = old[sources.clamp(min=0).to(old.device)].clone()
    rows[(sources < 0).to(old.device)] = new
    return rows


def _identities(tokenizer: Tokenizer) -> list[str]:
    """What each id stands for, the same in every tokenizer of a kind."""
    special = {token: name for name, token in tokenizer.special_ids.items()}
    return [
        f"special {special[token]}" if token in special else f"text {tokenizer.token_text(token)}"
        for token in range(tokenizer.vocab_size)
    ]
