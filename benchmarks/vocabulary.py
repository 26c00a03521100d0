"""Training on words with 33,278 symbols: textgen beside PyTorch's word language model example.

    .venv/bin/python benchmarks/vocabulary.py [--words 300000] [--turns 3] [--size 200]

The text are the standard library's sources, cut into words and signs, those beyond the commonest
33,277 written as one more. The peer is what pytorch/examples describes as its word language
model: two layers of nn.LSTM as wide as the embedding, dropout 0.2, B=20, T=35, SGD from rate 20,
gradients clipped to 0.25, the softmax over all symbols; written anew here. textgen trains the
same shape with the same batches by AdamW, products of the layers in bfloat16 where the CPU has
them: with the exact softmax, and with sampled classes.

Speed is words a second, each in a process of its own, in turns; the lowest and the highest are
told beside the median. Perplexity is always exact, on the last 100,000 words, after ``--words``
words of training from scratch. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SYMBOLS = 33_278
HELD_OUT = 100_000
ROWS, LENGTH = 20, 35
KINDS = ("peer", "exact", "sampled")
ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}


def words() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The text as ids, the commonest word first."""
    folder = Path(sysconfig.get_path("stdlib"))
    sources = sorted(path for path in folder.rglob("*.py") if "site-packages" not in path.parts)
    texts = (source.read_text(encoding="utf-8", errors="ignore") for source in sources)
    found = [word for text in texts for word in re.findall(r"\w+|[^\w\s]|\n", text)]
    order = [word for word, _ in Counter(found).most_common(SYMBOLS - 1)]
    ids = {word: number for number, word in enumerate(order)}
    return np.array([ids.get(word, SYMBOLS - 1) for word in found], np.uint16)


def peer(tokens: np.ndarray[Any, Any], size: int) -> tuple[Callable[[int], None], Any]:
    """A step, and the model, of the plain loop."""
    import torch
    from torch import nn

    from textgen.model import TextGenerator
    from textgen.training.streams import TextStreams

    torch.manual_seed(1)
    model = TextGenerator(SYMBOLS, size, size, layers=2)
    drop = nn.Dropout(0.2)
    lstm = nn.LSTM(size, size, 2, dropout=0.2, batch_first=True)
    model.lstm = lstm
    for weight in (model.embedding.weight, model.output.weight):
        nn.init.uniform_(weight, -0.1, 0.1)
    streams = TextStreams(tokens, ROWS, LENGTH)
    hidden: Any = None
    optimizer = torch.optim.SGD(model.parameters(), lr=20)

    def step(number: int) -> None:
        nonlocal hidden
        batch = streams.batch(number)
        states, (h, c) = lstm(drop(model.embedding(batch.inputs)), hidden)
        hidden = (h.detach(), c.detach())
        logits = model.output(drop(states)).flatten(0, 1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, batch.targets.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()

    return step, model


def ours(
    tokens: np.ndarray[Any, Any], size: int, sampled: int, steps: int
) -> tuple[Callable[[int], None], Any]:
    """The same of textgen, as ``train_files`` would run it."""
    import torch

    from textgen.allocator import keep_freed_memory
    from textgen.numerics import pick_device, precisions
    from textgen.options import ModelOptions
    from textgen.plan import Plan
    from textgen.training.frequencies import first_bias
    from textgen.training.mixture import Mixture, Part
    from textgen.training.sampled_classes import SampledClasses
    from textgen.training.streams import TextStreams
    from textgen.training.trainer import Trainer, new_model

    keep_freed_memory()
    model = ModelOptions(layers=2, hidden_size=size, embedding_size=size, dropout=0.2)
    plan = Plan(
        preset="lstm-base", model=model, tokenizer="word", vocab_size=SYMBOLS, batch_size=ROWS,
        sequence_length=LENGTH, total_steps=steps, warmup_steps=min(100, steps // 20),
        decay_steps=int(0.4 * steps), learning_rate=RATE, weight_decay=0.01, gradient_clip=1.0,
        seed=1, threads=1, validate_every=steps, device="cpu", kernel="onednn", numerics="",
        sampled_classes=sampled,
        precision=precisions("auto", pick_device("cpu"))[-1],
    )  # fmt: skip
    part = Part("causal", 1.0, slice(0, ROWS), TextStreams(tokens, ROWS, LENGTH))
    classes = SampledClasses(tokens, SYMBOLS, sampled, 1) if sampled else None
    fresh = new_model(plan)
    with torch.no_grad():
        fresh.output.bias.copy_(first_bias(tokens, SYMBOLS))
    trainer = Trainer(plan, fresh, Mixture([part], classes))
    return lambda _: trainer.advance(), trainer.model


RATE = float(os.environ.get("RATE", "3e-3"))


def run(kind: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Train once in this process; words a second and, where asked for, the perplexity."""
    import torch

    from textgen.evaluation.measures import evaluate

    torch.set_num_threads(arguments.threads)
    tokens = words()
    held_out, tokens = tokens[-HELD_OUT:], tokens[:-HELD_OUT]
    steps = arguments.words // (ROWS * LENGTH)
    if kind == "peer":
        step, model = peer(tokens, arguments.size)
    else:
        sampled = arguments.sampled if kind == "sampled" else 0
        step, model = ours(tokens, arguments.size, sampled, steps)
    times = []
    for number in range(steps):
        started = time.perf_counter()
        step(number)
        times.append(time.perf_counter() - started)
    figures = {"words_per_second": ROWS * LENGTH / statistics.median(times[2:])}
    if arguments.perplexity:
        figures["perplexity"] = math.exp(evaluate(model, held_out).loss)
    return figures


def apart(kind: str, arguments: argparse.Namespace, *more: str) -> dict[str, float]:
    """A training in a process of its own."""
    command = [sys.executable, __file__, "--only", kind, *more]
    for name in ("size", "threads", "sampled"):
        command += [f"--{name}", str(getattr(arguments, name))]
    environment = ENVIRONMENT | os.environ
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="training with a large vocabulary")
    parser.add_argument("--words", type=int, default=300_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--sampled", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--perplexity", action="store_true")
    parser.add_argument("--only", choices=KINDS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run(arguments.only, arguments)))
        return
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(arguments.turns):
        for kind in KINDS:
            steps = 20 if kind != "sampled" else 100
            found = apart(kind, arguments, "--words", str(ROWS * LENGTH * steps))
            speeds[kind].append(found["words_per_second"])
    medians = {kind: statistics.median(speeds[kind]) for kind in KINDS}
    result: dict[str, Any] = {"benchmark": "vocabulary", "size": arguments.size}
    for kind in KINDS:
        ratio = medians[kind] / medians["peer"]
        low, high = min(speeds[kind]), max(speeds[kind])
        print(f"{kind:8} {medians[kind]:9,.0f} words/s ({low:,.0f} to {high:,.0f}), {ratio:.2f}")
        result[kind] = {"words_per_second": speeds[kind], "ratio": ratio}
    if arguments.perplexity:
        for kind in KINDS:
            found = apart(kind, arguments, "--words", str(arguments.words), "--perplexity")
            print(f"{kind:8} perplexity {found['perplexity']:.2f} after {arguments.words:,} words")
            result[kind]["perplexity"] = found["perplexity"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
