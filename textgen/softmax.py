"""How many symbols a training step's softmax is over: all of them, or some that stand for all."""

from __future__ import annotations

from textgen.options import Hyperparameters

SAMPLED_CLASSES = 2048  # beside a step's targets; docs/experiments.md compares sizes


def softmax_classes(
    vocab_size: int, wanted: Hyperparameters, *, device: str = "cpu", workers: int = 1
) -> int:
    """Symbols in a step's softmax; ``vocab_size`` (V) for the exact one.

    Where nothing is asked for, a sample stands for a large vocabulary on a CPU: docs/benchmarks.md
    compares the two. Several workers share each step, and each would draw others.
    """
    if vocab_size < 2 * SAMPLED_CLASSES or workers > 1 or wanted.softmax == "exact":
        return vocab_size
    labels_alone = tuple(wanted.weights) == ("classify",)
    if wanted.softmax is None and (device != "cpu" or labels_alone):
        return vocab_size
    return SAMPLED_CLASSES
