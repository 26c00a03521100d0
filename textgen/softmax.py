"""How many symbols a training step's softmax is over: all of them, or some that stand for all."""

from __future__ import annotations

from textgen.options import Hyperparameters

SAMPLED_CLASSES = 2048  # beside a step's targets; docs/experiments.md compares sizes


def sampled_classes(
    vocab_size: int, wanted: Hyperparameters, *, device: str = "cpu", workers: int = 1
) -> int:
    """Symbols that stand for all ``vocab_size`` (V) in a step's softmax; 0 for the exact one.

    Where nothing is asked for they do so in a large vocabulary on a CPU: docs/benchmarks.md
    compares the two. Several workers share each step, and each would draw others.
    """
    if vocab_size < 2 * SAMPLED_CLASSES or workers > 1 or wanted.softmax == "exact":
        return 0
    labels_alone = tuple(wanted.weights) == ("classify",)
    if wanted.softmax is None and (device != "cpu" or labels_alone):
        return 0
    return SAMPLED_CLASSES
