"""Characters a second of training: each preset beside a plain loop of the same shape.

    .venv/bin/python benchmarks/training_speed.py [--presets lstm-tiny,lstm-small] [--turns 5]

The plain loop is nn.Embedding, nn.LSTM and nn.Linear with fused AdamW, clipping and carried
state, by oneDNN and by torch's own kernel, and once more with the memory setting that textgen
makes (textgen.allocator); the fastest counts. textgen trains the preset as it is, layer norm and
dropouts with it: as a plan would be on this CPU (products in bfloat16 where it has them), in
float32, and in float32 without norm and dropouts, which is the plain loop's arithmetic. All read
random tokens
of 65 symbols. Each is a process of its own, in turns. The roof is the product of 2048³ by torch and
by oneDNN. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SYMBOLS = 65
KINDS = ("plain", "plain-native", "plain-kept", "textgen", "textgen-float32", "textgen-bare")
ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}


def plain(preset: Any, kernel: str) -> Callable[[], None]:
    """A step of the plain loop."""
    import torch
    from torch import nn

    torch._C._set_mkldnn_enabled(kernel == "onednn")
    shape, rows, length = preset.model, preset.batch_size, preset.sequence_length
    embedding = nn.Embedding(SYMBOLS, shape.embedding_size)
    lstm = nn.LSTM(shape.embedding_size, shape.hidden_size, shape.layers, batch_first=True)
    output = nn.Linear(shape.hidden_size, SYMBOLS)
    parameters = [*embedding.parameters(), *lstm.parameters(), *output.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    ids = torch.randint(SYMBOLS, (rows, length + 1))
    hidden: Any = None

    def step() -> None:
        nonlocal hidden
        states, (h, c) = lstm(embedding(ids[:, :-1]), hidden)
        hidden = (h.detach(), c.detach())
        logits = output(states).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        loss.item()
        optimizer.step()

    return step


def textgen(preset: Any, kind: str, threads: int) -> Callable[[], None]:
    """A step of textgen's trainer."""
    from textgen.numerics import pick_device, precisions
    from textgen.plan import Plan
    from textgen.training.mixture import Mixture, Part
    from textgen.training.streams import TextStreams
    from textgen.training.trainer import Trainer, new_model

    model = preset.model
    if kind == "textgen-bare":
        model = model.model_copy(update={"layer_norm": False, "dropout": 0.0})
    short = precisions("auto", pick_device("cpu"))[-1]
    plan = Plan(
        preset="lstm-tiny", model=model, tokenizer="char", vocab_size=SYMBOLS,
        batch_size=preset.batch_size, sequence_length=preset.sequence_length, total_steps=10**6,
        warmup_steps=0, decay_steps=0, learning_rate=1e-3, weight_decay=0.01, gradient_clip=1.0,
        seed=0, threads=threads, validate_every=10**6, device="cpu", numerics="",
        kernel="onednn", precision=short if kind == "textgen" else "float32",
    )  # fmt: skip
    tokens = np.random.default_rng(0).integers(0, SYMBOLS, 1_000_000).astype(np.uint16)
    rows = plan.batch_size
    streams = TextStreams(tokens, rows, plan.sequence_length)
    trainer = Trainer(
        plan, new_model(plan), Mixture([Part("causal", 1.0, slice(0, rows), streams)])
    )
    return trainer.advance


def run(kind: str, name: str, arguments: argparse.Namespace) -> float:
    """Characters a second in this process."""
    import torch

    from textgen.allocator import keep_freed_memory
    from textgen.options import PRESETS

    torch.set_num_threads(arguments.threads)
    if kind not in ("plain", "plain-native"):
        keep_freed_memory()
    preset = PRESETS[name]
    if kind.startswith("plain"):
        step = plain(preset, "native" if kind == "plain-native" else "onednn")
    else:
        step = textgen(preset, kind, arguments.threads)
    step()
    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < arguments.seconds:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return preset.batch_size * preset.sequence_length / statistics.median(times)


def roofs(threads: int) -> dict[str, float]:
    """GFLOP/s of a product of 2048³, by torch's BLAS and by oneDNN."""
    import torch

    from textgen.training.output_loss import linear

    torch.set_num_threads(threads)
    x = torch.randn(2048, 2048)
    found = {}
    products = {"blas": lambda: x @ x, "onednn": lambda: linear(x, x)}
    for name, product in products.items():
        times = []
        for _ in range(12):
            started = time.perf_counter()
            product()
            times.append(time.perf_counter() - started)
        found[name] = round(2 * 2048**3 / min(times) / 1e9, 1)
    return found


def apart(kind: str, name: str, arguments: argparse.Namespace) -> float:
    """The same as ``run``, in a process of its own."""
    command = [sys.executable, __file__, "--only", kind, "--presets", name]
    command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    environment = ENVIRONMENT | os.environ
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(found.stdout.splitlines()[-1])


def compare(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """All kinds in turns on one preset."""
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(arguments.turns):
        for kind in KINDS:
            if turn == 0 or kind != "plain-native":  # far behind; once is enough
                speeds[kind].append(apart(kind, name, arguments))
    medians = {kind: statistics.median(speeds[kind]) for kind in KINDS}
    as_it_comes = max(medians["plain"], medians["plain-native"])
    fastest = max(as_it_comes, medians["plain-kept"])
    for kind in KINDS:
        low, high = min(speeds[kind]), max(speeds[kind])
        print(f"{name:11} {kind:13} {medians[kind]:9,.0f} ({low:,.0f} to {high:,.0f})", flush=True)
    ratios = {
        f"{kind} ÷ {against}": round(medians[kind] / speed, 3)
        for kind in KINDS[3:]
        for against, speed in (("plain", as_it_comes), ("fastest plain", fastest))
    }
    print(f"{name:11} {ratios}", flush=True)
    return {"characters_per_second": speeds, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description="training speed beside a plain loop")
    parser.add_argument("--presets", default="lstm-tiny,lstm-small,lstm-base,lstm-large")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=KINDS)
    arguments = parser.parse_args()
    if arguments.only:
        print(run(arguments.only, arguments.presets, arguments))
        return
    found = {name: compare(name, arguments) for name in arguments.presets.split(",")}
    roof = roofs(arguments.threads)
    print(f"roof, GFLOP/s: {roof}")
    print(json.dumps({"benchmark": "training_speed", "roof": roof, "presets": found}))


if __name__ == "__main__":
    main()
