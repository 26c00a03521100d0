"""How low the validation loss gets in a given time: each preset, trained from scratch.

    .venv/bin/python -m benchmarks.quality [CORPUS] [--presets lstm-tiny,lstm-small] [--seconds 60]
                                           [--seeds 0] [--threads N] [--lines] [--megabytes 1]
                                           [--set NAME=VALUE …]

CORPUS is a text file; without one it is a megabyte, or ``--megabytes``, of the Python standard
library's sources. It is one text, with ``--lines`` a text a line.
Every training is a process of its own. Losses are nats per token on the whole validation part
(the last tenth), state carried, with the weights that did best on the way. ``--set`` changes a
hyperparameter for all of them, so that ``--set max_steps=3000`` compares shapes by their steps,
whatever else the machine does. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

# Waiting threads spin for some microseconds before they sleep: with none of it small matrix
# products take twice as long, with more of it two trainings on the same cores block each other.
ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}


def train(
    corpus: Path, preset: str, threads: int, lines: bool, wanted: dict[str, Any]
) -> dict[str, Any]:
    """One training in this process; its figures."""
    from textgen.bundles.bundle import read_header
    from textgen.corpus.sources import Source
    from textgen.options import Hyperparameters
    from textgen.training.train import train_files

    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        path = train_files(
            [Source(corpus, format="lines" if lines else None)],
            folder=Path(folder),
            preset=preset,
            hyperparameters=Hyperparameters.parse(wanted),
            threads=threads,
            on_event=lambda event: seconds.append(event.data.get("seconds", 0.0)),
        )
        wall = time.perf_counter() - started
        assert path is not None
        header = read_header(path)
    assert header.plan is not None
    return {
        "preset": preset,
        "model": f"{header.plan.model.layers}x{header.plan.model.hidden_size}",
        "batch": header.plan.batch_size,
        "length": header.plan.sequence_length,
        "steps": header.plan.total_steps,
        "kernel": header.plan.kernel,
        "threads": header.plan.threads,
        "seconds": max(seconds),
        "wall": round(wall, 1),
        "train_loss": header.metrics["train_loss"],
        "valid_loss": header.metrics["full_valid_loss"],
        "valid_bits_per_character": header.metrics["valid_bits_per_character"],
    }


def train_apart(arguments: argparse.Namespace, preset: str, seed: str) -> dict[str, Any]:
    """One training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.quality", str(arguments.corpus), "--only"]
    command += ["--presets", preset, "--seconds", str(arguments.seconds), "--seeds", seed]
    command += ["--threads", str(arguments.threads), *(("--lines",) if arguments.lines else ())]
    for change in arguments.set:
        command += ["--set", change]
    environment = ENVIRONMENT | os.environ
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    result: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return result


def hyperparameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of one training."""
    changes: dict[str, Any] = {}
    for change in arguments.set:
        name, _, value = change.partition("=")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value  # a word
    if not changes.keys() & {"max_steps", "n_epochs", "max_seconds"}:
        changes["max_seconds"] = arguments.seconds
    return {"seed": int(arguments.seeds), "tokenizer": "char", **changes}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="validation loss in a given time")
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--presets", default="lstm-tiny,lstm-small")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--megabytes", type=float, default=1, help="of the library's sources")
    parser.add_argument("--lines", action="store_true", help="each line is a text")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def standard_library(folder: Path, characters: int) -> Path:
    """A text that every Python has: the beginning of its library's sources, without its tests."""
    library = Path(sysconfig.get_path("stdlib"))
    deeper = (
        path
        for path in library.rglob("*/*.py")
        if not {"site-packages", "test", "tests"} & {*path.relative_to(library).parts}
    )
    sources = dict.fromkeys([*sorted(library.glob("*.py")), *sorted(deeper)])
    texts = (source.read_text(encoding="utf-8", errors="ignore") for source in sources)
    text = "".join(texts)[:characters]
    assert len(text) == characters, f"The library's sources have {len(text):,} characters."
    path = folder / "stdlib.txt"
    path.write_text(text, encoding="utf-8")
    return path


def main() -> None:
    """Compare, or train once where a comparison asks for it."""
    arguments = parse()
    if arguments.only:
        wanted = hyperparameters(arguments)
        what = (arguments.corpus, arguments.presets, arguments.threads, arguments.lines)
        print(json.dumps(train(*what, wanted)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.corpus is None:
            size = int(arguments.megabytes * 1e6)
            arguments.corpus = standard_library(Path(folder), size)
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Train each preset with each seed, and print what came of it."""
    rows = []
    print(
        f"{'preset':12} {'model':7} {'B×T':8} {'steps':>7} {'ms/step':>8} {'train':>7} {'valid':>7}"
    )
    for preset in arguments.presets.split(","):
        for seed in arguments.seeds.split(","):
            row = {**train_apart(arguments, preset, seed), "seed": int(seed)}
            rows.append(row)
            shape, pace = f"{row['batch']}×{row['length']}", row["seconds"] / row["steps"] * 1e3
            print(
                f"{preset:12} {row['model']:7} {shape:8} {row['steps']:7} {pace:8.1f} "
                f"{row['train_loss']:7.4f} {row['valid_loss']:7.4f}",
                flush=True,
            )
    medians = {
        preset: statistics.median(row["valid_loss"] for row in rows if row["preset"] == preset)
        for preset in arguments.presets.split(",")
    }
    print(json.dumps({"benchmark": "quality", "median_valid_loss": medians, "rows": rows}))


if __name__ == "__main__":
    main()
