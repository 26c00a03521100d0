"""How well a model does the tasks of an objective: fill gaps, find the order of sentences.

Two views. The answer token by token, each after the right ones before it: loss and accuracy, as in
training. And the answer as the model writes it by itself, the likeliest token each time, against
the right one: precision, recall and F1 of its tokens as a multiset, and the share that is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from textgen.model import Hidden, TextGenerator
from textgen.objectives import Example, Objective, Passages, examples

_ROWS = 64  # tasks at a time
_LOGITS = 1 << 24  # at most so many at a time
_SEED = 20_250_101  # of the tasks: the same whenever a model is measured on a text


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """Of one model on the tasks of one objective."""

    loss: float  # nats per token of the answers
    accuracy: float  # share of those tokens that were the likeliest
    tasks: int


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Of the answers that a model writes by itself; means over the tasks."""

    exact: float
    precision: float
    recall: float
    f1: float
    tasks: int


def sample_tasks(objective: Objective, passages: Passages, count: int) -> list[Example]:
    """Up to ``count`` tasks, always the same ones; none where the text is good for none."""
    return list(islice(examples(objective, passages, np.random.default_rng(_SEED)), count))


@torch.inference_mode()
def evaluate_tasks(
    model: TextGenerator,
    tasks: Sequence[Example],
    *,
    on_batch: Callable[[], None] = lambda: None,
) -> TaskMetrics:
    """Predict every token of the answers after the right ones before it, from zero states.

    ``on_batch`` is called now and then.
    """
    loss, right, tokens = 0.0, 0, 0
    was_training = model.training
    model.eval()
    try:
        for some in _batches(model, tasks):
            on_batch()
            logits, targets = _answers(model, some)
            loss += functional.cross_entropy(logits, targets, reduction="sum").double().item()
            right += int((logits.argmax(-1) == targets).sum())
            tokens += len(targets)
    finally:
        model.train(was_training)
    return TaskMetrics(loss / max(tokens, 1), right / max(tokens, 1), len(tasks))


def _batches(model: TextGenerator, tasks: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """The tasks in groups whose answers' logits fit into memory."""
    longest = max((len(task.answer) for task in tasks), default=1)
    rows = max(1, min(_ROWS, _LOGITS // (longest * model.vocab_size)))
    return (tasks[first : first + rows] for first in range(0, len(tasks), rows))


def _answers(model: TextGenerator, tasks: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Logits (N, V) and targets (N,) of all N answer tokens."""
    device = next(model.parameters()).device
    longest = max(task.size for task in tasks)
    ids = torch.zeros(len(tasks), longest, dtype=torch.int64)
    counted = torch.zeros(len(tasks), longest, dtype=torch.bool)
    for row, task in enumerate(tasks):
        ids[row, : task.size] = torch.from_numpy(np.concatenate([task.prompt, task.answer]))
        counted[row, len(task.prompt) : task.size] = True
    ids, counted = ids.to(device), counted.to(device)
    features, _ = model.features(ids[:, :-1])
    return model.output(features[counted[:, 1:]]), ids[:, 1:][counted[:, 1:]]


def score_answers(
    model: TextGenerator,
    tasks: Sequence[Example],
    end_id: int,
    *,
    on_batch: Callable[[], None] = lambda: None,
) -> AnswerScores:
    """Let the model answer; an answer may be twice as long as the right one, and 8 tokens more.

    ``on_batch`` is called now and then.
    """
    scores: list[tuple[float, float, float, float]] = []
    for first in range(0, len(tasks), _ROWS):
        some = tasks[first : first + _ROWS]
        on_batch()
        scores += (
            compare_answers(written, task.answer[:-1].tolist())
            for task, written in zip(some, _write(model, some, end_id), strict=True)
        )
    exact, precision, recall, f1 = map(float, np.mean(scores, 0) if scores else np.zeros(4))
    return AnswerScores(exact, precision, recall, f1, len(scores))


@torch.inference_mode()
def _write(model: TextGenerator, tasks: Sequence[Example], end_id: int) -> list[list[int]]:
    """The likeliest token each time, up to the end or the most there may be, for each task."""
    most = [2 * len(task.answer) + 8 for task in tasks]
    was_training = model.training
    model.eval()
    try:
        token, hidden = _read_prompts(model, tasks)  # (B,)
        drawn = [token]
        ended = token == end_id
        while len(drawn) < max(most) and not bool(ended.all()):
            logits, hidden = model(drawn[-1][:, None], hidden)
            drawn.append(logits[:, 0].argmax(-1))
            ended |= drawn[-1] == end_id
    finally:
        model.train(was_training)
    rows = [row[: most[i]] for i, row in enumerate(torch.stack(drawn, 1).tolist())]
    return [row[: row.index(end_id)] if end_id in row else row for row in rows]


def _read_prompts(model: TextGenerator, tasks: Sequence[Example]) -> tuple[Tensor, Hidden]:
    """The first token of each answer (B,) and the state; prompts differ in length: one by one."""
    device = next(model.parameters()).device
    states: list[Hidden] = []
    tokens: list[Tensor] = []
    for task in tasks:
        features, state = model.features(torch.from_numpy(task.prompt).to(device)[None])
        states.append(state)
        tokens.append(model.output(features[0, -1]).argmax())
    h = torch.cat([h for h, _ in states], dim=1)
    c = torch.cat([c for _, c in states], dim=1)
    return torch.stack(tokens), (h, c)


def compare_answers(written: list[int], right: list[int]) -> tuple[float, float, float, float]:
    """Whether they are equal, and precision, recall and F1 of the tokens as a multiset."""
    common = sum((Counter(written) & Counter(right)).values())
    precision = common / len(written) if written else 0.0
    recall = common / len(right) if right else 0.0
    f1 = 2 * precision * recall / (precision + recall) if common else 0.0
    return float(written == right), precision, recall, f1
