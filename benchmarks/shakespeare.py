"""Tiny Shakespeare, character by character, beside nanoGPT with its documented settings for a CPU.

    .venv/bin/python -m benchmarks.shakespeare CORPUS [--nanogpt CHECKOUT] [--seeds 0,1,2]
                     [--seconds 4,6,8] [--preset lstm-auto] [--threads 1] [--set NAME=VALUE …]

CORPUS is the text of 1,115,394 characters; the last tenth is predicted. CHECKOUT is a folder with
karpathy/nanoGPT as it is published; without one nothing is compared. Each training is a process of
its own, from its start to its end: its seconds of CPU (user and system) and of wall time are those
of that process, with starting, reading, encoding, validating and saving. nanoGPT runs first and
last, so that a machine that grows slower shows.

Losses are nats per character over all validation characters: ours once, the state carried;
nanoGPT's by windows that give each character at least three quarters of its context to look back
at. A run of ours takes ``--seconds`` of training; 0 takes as much CPU time as nanoGPT did.
The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.quality import ENVIRONMENT

# "I only have a macbook" in nanoGPT's README
SETTINGS = [
    "config/train_shakespeare_char.py",
    *("--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1"),
    *("--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128"),
    *("--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0"),
]
START_SECONDS = 4.0  # of CPU, about what a process of ours takes beside training

# Run within the checkout: every character of the validation part after windows of the model's size.
EVALUATE = """
import json, torch, numpy as np
from model import GPT, GPTConfig
found = torch.load("out-shakespeare-char/ckpt.pt", map_location="cpu")
model = GPT(GPTConfig(**found["model_args"]))
model.load_state_dict(found["model"])
model.eval()
ids = torch.from_numpy(np.fromfile("data/shakespeare_char/val.bin", np.uint16).astype(np.int64))
size, stride = model.config.block_size, model.config.block_size // 4
total, count, done = 0.0, 0, 0
with torch.no_grad():
    starts = list(range(0, len(ids) - size - 1, stride)) + [len(ids) - size - 1]
    for begin in range(0, len(starts), 64):
        some = starts[begin : begin + 64]
        x = torch.stack([ids[s : s + size] for s in some])
        y = torch.stack([ids[s + 1 : s + size + 1] for s in some])
        logits, _ = model(x, y)
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), y, reduction="none")
        for row, start in zip(losses, some):
            new = row[max(done - start, 0):]
            total, count, done = total + new.sum().item(), count + len(new), start + size
print(json.dumps([total / count, count]))
"""


@dataclass(frozen=True)
class Row:
    """One training: seconds of the whole process, nats per validation character."""

    name: str
    cpu: float
    wall: float
    loss: float
    steps: int


def timed(command: list[str], folder: Path | None = None) -> tuple[str, float, float]:
    """What a command prints, its CPU seconds and its wall seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = ENVIRONMENT | os.environ
    found = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, env=environment
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found.stdout, cpu, wall


def nanogpt(checkout: Path, corpus: Path) -> Row:
    """Train by its own script in a copy of the checkout."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "nanogpt"
        shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(".git", "assets"))
        text = corpus.read_text(encoding="utf-8")
        symbols = {symbol: number for number, symbol in enumerate(sorted(set(text)))}
        ids = np.array([symbols[symbol] for symbol in text], np.uint16)
        data = folder / "data/shakespeare_char"
        cut = len(ids) * 9 // 10
        ids[:cut].tofile(data / "train.bin")
        ids[cut:].tofile(data / "val.bin")
        (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": len(symbols)}))
        _, cpu, wall = timed([sys.executable, "train.py", *SETTINGS], folder)
        printed, _, _ = timed([sys.executable, "-c", EVALUATE], folder)
        loss, count = json.loads(printed.splitlines()[-1])
        assert count == len(ids) - cut - 1
    return Row("nanoGPT", cpu, wall, loss, 2000)


def ours(arguments: argparse.Namespace, seconds: float, seed: str) -> Row:
    """Train by the library in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.quality", str(arguments.corpus), "--only"]
    command += ["--presets", arguments.preset, "--seconds", str(seconds), "--seeds", seed]
    command += ["--threads", str(arguments.threads)]
    for change in arguments.set:
        command += ["--set", change]
    printed, cpu, wall = timed(command)
    found = json.loads(printed.splitlines()[-1])
    name = f"{arguments.preset} {found['model']}, {seconds:g} s, seed {seed}"
    return Row(name, cpu, wall, found["valid_loss"], found["steps"])


def show(row: Row) -> Row:
    """Print a line of the table."""
    print(
        f"{row.name:34} {row.cpu:7.1f} s CPU {row.wall:7.1f} s wall {row.steps:6} steps "
        f"{row.loss:7.4f} nats",
        flush=True,
    )
    return row


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="tiny Shakespeare beside nanoGPT")
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--seconds", default="4,6,8,0")
    parser.add_argument("--preset", default="lstm-auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    return parser.parse_args()


def main() -> None:
    """Take turns."""
    arguments = parse()
    if arguments.corpus is None:
        print("No corpus given (a file with tiny Shakespeare): nothing was measured.")
        print(json.dumps({"benchmark": "shakespeare", "skipped": "no corpus"}))
        return
    peers = [show(nanogpt(arguments.nanogpt, arguments.corpus))] if arguments.nanogpt else []
    rows = []
    for wanted in arguments.seconds.split(","):
        seconds = float(wanted)
        if seconds == 0:
            if not peers:
                continue
            seconds = round((peers[0].cpu - START_SECONDS) / arguments.threads, 1)
        found = [show(ours(arguments, seconds, seed)) for seed in arguments.seeds.split(",")]
        print(f"{'median':66} {statistics.median(row.loss for row in found):15.4f} nats")
        rows += found
    if arguments.nanogpt:
        peers.append(show(nanogpt(arguments.nanogpt, arguments.corpus)))
    result = {"nanogpt": [asdict(row) for row in peers], "ours": [asdict(row) for row in rows]}
    print(json.dumps({"benchmark": "shakespeare", **result}))


if __name__ == "__main__":
    main()
