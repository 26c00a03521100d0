"""Bits per character by tokenizer, each in as many steps as fit into the same time.

    .venv/bin/python -m benchmarks.tokenizers CORPUS… [--seconds 60] [--steps FILE] [--only NAME…]

A step is measured for every tokenizer first, on one thread, with nothing else running; FILE keeps
the measurements, and where it is there they are read from it. The trainings then go by steps, so
what else the machine does changes nothing. The first nine tenths of a text train, the rest is
measured whole. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from textgen.allocator import keep_freed_memory
from textgen.bundles.bundle import read_header
from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.events import ignore
from textgen.numerics import pick_device, precisions
from textgen.options import Hyperparameters
from textgen.training.mixture import make_mixture
from textgen.training.planning import make_plan
from textgen.training.step_timing import step_seconds, ways
from textgen.training.train import train_files

SHAPE: dict[str, Any] = {
    "layers": 1, "hidden_size": 256, "embedding_size": 64, "batch_size": 16, "sequence_length": 64,
    "layer_norm": True, "learning_rate": 5e-3, "dropout": 0.0, "seed": 0,
}  # fmt: skip
TOKENIZERS: dict[str, dict[str, Any]] = {
    "char": {"tokenizer": "char"},
    "bpe 512": {"tokenizer": "bpe", "vocab_size": 512},
    "bpe 1024": {"tokenizer": "bpe", "vocab_size": 1024},
    "bpe 4096": {"tokenizer": "bpe", "vocab_size": 4096},
    "unigram 1024": {"tokenizer": "unigram", "vocab_size": 1024},
    "unigram 4096": {"tokenizer": "unigram", "vocab_size": 4096},
    "unigram": {"tokenizer": "unigram"},
}
TRIES = 3


def a_step(corpus: Path, options: dict[str, Any]) -> float:
    """Seconds of a step on one thread: the fastest of some measurements of each kernel."""
    device = pick_device("cpu")
    wanted = Hyperparameters.parse({**SHAPE, **options, "max_steps": 100})
    with tempfile.TemporaryDirectory() as folder:
        encoded = encode_corpus([Source(corpus)], wanted, Path(folder))
        plan = make_plan(encoded, "lstm-small", wanted, device=device, threads=1, on_event=ignore)
        mixture = make_mixture(plan, encoded)
        possible = ways(device, 1, precisions(wanted.precision, device))
        return min(step_seconds(plan, mixture, way) for way in possible for _ in range(TRIES))


def train(corpus: Path, options: dict[str, Any], steps: int) -> dict[str, Any]:
    """One training of so many steps; its figures."""
    wanted = Hyperparameters.parse({**SHAPE, **options, "max_steps": steps})
    with tempfile.TemporaryDirectory() as folder:
        path = train_files(
            [Source(corpus)],
            folder=Path(folder),
            preset="lstm-small",
            hyperparameters=wanted,
            device="cpu",
        )
        assert path is not None
        header = read_header(path)
    part = header.corpus["splits"]["train"]
    return {
        "vocab_size": header.vocab_size,
        "characters_per_token": round(part["characters"] / part["tokens"], 3),
        "steps": steps,
        "spelt": header.corpus["coverage"]["spelt"],
        "unknown": header.corpus["coverage"]["unknown"],
        "bits_per_character": header.metrics["valid_bits_per_character"],
    }


def main() -> None:
    """Measure the steps, then train."""
    parser = argparse.ArgumentParser(description="bits per character by tokenizer at equal time")
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--steps", type=Path, help="a file that keeps what a step takes")
    parser.add_argument("--only", nargs="+", choices=list(TOKENIZERS), default=list(TOKENIZERS))
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    kept: Path | None = arguments.steps
    times: dict[str, float] = {}
    if kept is not None and kept.exists():
        times = json.loads(kept.read_text())
    for corpus in arguments.corpora:
        for name in arguments.only:
            key = f"{corpus.name} {name}"
            times[key] = times.get(key) or a_step(corpus, TOKENIZERS[name])
    if kept is not None:
        kept.write_text(json.dumps(times))
    rows = []
    for corpus in arguments.corpora:
        for name in arguments.only:
            seconds = times[f"{corpus.name} {name}"]
            found = train(corpus, TOKENIZERS[name], int(arguments.seconds / seconds))
            rows.append({"corpus": corpus.name, "tokenizer": name, "step": seconds, **found})
            print(
                f"{corpus.name:16} {name:13} {found['vocab_size']:6,} ids "
                f"{found['characters_per_token']:5.2f} characters a token "
                f"{seconds * 1e3:6.1f} ms {found['steps']:5,} steps "
                f"{found['bits_per_character']:.3f} bits",
                flush=True,
            )
    print(json.dumps({"benchmark": "tokenizers", "seconds": arguments.seconds, "rows": rows}))


if __name__ == "__main__":
    main()
