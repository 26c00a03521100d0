"""A training step by one process with all threads, and by processes with one each, in turns.

    .venv/bin/python -m benchmarks.distributed [--layers 2] [--hidden 512] [--batch 64] [--cores 2]
                                               [--rounds 3] [--steps 15] [--precision float32]

Shapes are those of a plan with T=64 and 65 symbols; the text is random, since a step takes as long
on any. Milliseconds a step, the median of each round; beside them what the leader spends on sums of
gradients, waiting for the others included. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.quality import ENVIRONMENT

os.environ.update(ENVIRONMENT | os.environ)  # before torch loads

import torch
from torch import Tensor

from textgen.allocator import keep_freed_memory
from textgen.corpus.dataset import EncodedCorpus
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.options import Hyperparameters, ModelOptions
from textgen.plan import Plan
from textgen.training.group import Group
from textgen.training.local_group import local_group
from textgen.training.mixture import make_mixture
from textgen.training.trainer import Trainer, new_model

CPU = torch.device("cpu")
SYMBOLS = 65
CHARACTERS = 1_000_000


def main() -> None:
    """Measure, print each round, then all as JSON."""
    wanted = _arguments()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus = _corpus(folder)
        rounds = [
            {workers: _measure(wanted, corpus, folder, workers) for workers in (1, wanted.cores)}
            for _ in range(wanted.rounds)
        ]
    found: dict[str, dict[str, float]] = {}
    for workers in (1, wanted.cores):
        steps = [each[workers][0] for each in rounds]
        threads = wanted.cores // workers
        found[f"{workers} x {threads} threads"] = {
            "milliseconds": round(statistics.median(steps), 1),
            "least": round(min(steps), 1),
            "most": round(max(steps), 1),
            "sum_milliseconds": round(statistics.median(each[workers][1] for each in rounds), 1),
        }
        print(
            f"{workers} processes of {threads} threads: {found[f'{workers} x {threads} threads']}"
        )
    shape = f"{wanted.layers}x{wanted.hidden}, B={wanted.batch}, {wanted.precision}"
    print(json.dumps({"shape": shape, "cores": wanted.cores, "found": found}))


class Timed:
    """A group whose leader notes how long sums take, waiting for the others included."""

    def __init__(self, group: Group) -> None:
        self.rank, self.size = group.rank, group.size
        self.tell, self.copy = group.tell, group.copy
        self._sum = group.sum
        self.milliseconds: list[float] = []

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """As the group's."""
        self.milliseconds.append(_milliseconds(lambda: self._sum(tensors)))


def _measure(
    wanted: argparse.Namespace, corpus: EncodedCorpus, folder: Path, workers: int
) -> tuple[float, float]:
    """Milliseconds of a step, and of the sum of the gradients in it."""
    plan = _plan(wanted, corpus.tokenizer.vocab_size, workers)
    with local_group(workers, CPU, folder) as together:
        group = Timed(together)
        group.tell("read", corpora=[(str(corpus.folder), corpus.sha256)])
        torch.set_num_threads(plan.threads)
        trainer = Trainer(plan, new_model(plan), make_mixture(plan, corpus), group)
        times = [_milliseconds(trainer.advance) for _ in range(wanted.steps + 2)][2:]
        group.tell("end")
    return statistics.median(times), statistics.median(group.milliseconds[2:])


def _milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def _plan(wanted: argparse.Namespace, vocab_size: int, workers: int) -> Plan:
    values = {
        "preset": "lstm-base",
        "model": ModelOptions(
            layers=wanted.layers,
            hidden_size=wanted.hidden,
            embedding_size=wanted.hidden // 4,
            layer_norm=True,
        ),
        "tokenizer": "char", "vocab_size": vocab_size, "batch_size": wanted.batch,
        "sequence_length": 64, "total_steps": 10**6, "warmup_steps": 0, "decay_steps": 0,
        "learning_rate": 1e-3, "weight_decay": 0.01, "gradient_clip": 1.0, "seed": 0,
        "threads": wanted.cores // workers, "workers": workers, "validate_every": 10**6,
        "device": "cpu", "numerics": "", "kernel": "onednn", "precision": wanted.precision,
    }  # fmt: skip
    return Plan.parse(values)


def _corpus(folder: Path) -> EncodedCorpus:
    symbols = [chr(ord("0") + number) for number in range(SYMBOLS)]
    text = folder / "text.txt"
    text.write_text("".join(random.Random(0).choices(symbols, k=CHARACTERS)))
    return encode_corpus([Source(text)], Hyperparameters(tokenizer="char"), folder / "ids")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--precision", default="float32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
