"""The library in four functions: text to ids, a model, a training loop, generated text.

For learning, notebooks and texts that fit in memory. ``textgen.training.train.train_files`` is
the way for everything else: plans, checkpoints, validation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from textgen.engine.preview import preview
from textgen.errors import InvalidCorpus, InvalidOption, TrainingDiverged
from textgen.model import Hidden, TextGenerator
from textgen.tokenizers import Tokenizer
from textgen.tokenizers.char import CharTokenizer

__all__ = ["TextGenerator", "generate_text", "make_batches", "preprocess_data", "train"]


def preprocess_data(text: str) -> tuple[Tensor, Tokenizer]:
    """The ids of ``text``, one a character, as an int64 tensor, and the tokenizer that made them.

    Any language: "我是一名程序员" gives seven ids.
    """
    if len(text) < 2:
        raise InvalidCorpus(
            f"The text has {len(text)} characters; at least 2 are needed to predict one.",
            code="corpus_too_small",
        )
    learner = CharTokenizer.learner()
    learner.add(text)
    tokenizer = learner.finish()
    return torch.from_numpy(tokenizer.encode(text).astype("int64")), tokenizer


def make_batches(ids: Tensor, batch_size: int, sequence_length: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs and targets (B, T) that continue from one batch to the next, row by row.

    ``ids`` is cut into B streams of equal length; up to B - 1 ids at its end are left out, and
    the last batch may be shorter in T.
    """
    length = (ids.numel() - 1) // batch_size
    if length < 1:
        raise InvalidOption(
            f"'batch_size' is {batch_size}, but there are only {ids.numel()} ids; take a smaller "
            "one.",
            param="batch_size",
        )
    x = ids[: batch_size * length].view(batch_size, length)
    y = ids[1 : batch_size * length + 1].view(batch_size, length)
    inputs, targets = (torch.split(part, sequence_length, dim=1) for part in (x, y))
    return list(zip(inputs, targets, strict=True))


def train(
    model: TextGenerator,
    data_loader: Iterable[tuple[Tensor, Tensor]],
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    num_epochs: int,
) -> list[float]:
    """Train on batches of inputs and targets (B, T); returns each epoch's mean loss.

    The hidden state is carried from batch to batch and detached, and starts anew with each epoch
    or where the batch size changes. ``criterion`` takes logits (B·T, V) and targets (B·T,), as
    ``nn.CrossEntropyLoss`` does. TrainingDiverged where the loss is not finite.
    """
    model.train()
    means = []
    for epoch in range(num_epochs):
        hidden: Hidden | None = None
        losses: list[float] = []
        for x, y in data_loader:
            if hidden is not None and hidden[0].shape[1] != x.shape[0]:
                hidden = None
            loss, hidden = _step(model, x, y, hidden, criterion, optimizer)
            losses.append(loss)
        if not losses:
            raise InvalidCorpus(f"The data loader gave no batch in epoch {epoch + 1}.")
        means.append(sum(losses) / len(losses))
    return means


def generate_text(
    model: TextGenerator,
    seed_text: str,
    length: int,
    *,
    tokenizer: Tokenizer,
    temperature: float = 0.8,
    no_repeat: bool = False,
    seed: int = 0,
) -> str:
    """``seed_text`` and ``length`` more characters; the same for the same ``seed``.

    Temperature 0 takes the likeliest one each time. ``no_repeat`` takes only characters that the
    text does not have yet, for as long as there are any.
    """
    return seed_text + preview(
        model,
        tokenizer,
        length,
        seed_text=seed_text,
        temperature=temperature,
        seed=seed,
        no_repeat=no_repeat,
    )


def _step(
    model: TextGenerator,
    x: Tensor,
    y: Tensor,
    hidden: Hidden | None,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> tuple[float, Hidden]:
    logits, (h, c) = model(x, hidden)  # (B, T, V)
    loss: Tensor = criterion(logits.flatten(0, 1), y.flatten())
    value = loss.item()
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"The loss is {value}; train again with a smaller learning rate.", param="optimizer"
        )
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return value, (h.detach(), c.detach())
