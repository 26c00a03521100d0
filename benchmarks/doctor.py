"""How near the doctor's estimate comes to the time that a training then takes.

    .venv/bin/python -m benchmarks.doctor CORPUS… [--first N] [--threads N]

For each corpus and each of some trainings: the estimate by a process that begins the training
(what `textgen doctor` runs), then the training itself in a process of its own, timed from its
start to the finished model. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from textgen.options import Hyperparameters
from web.cli.forecast import forecast_apart

TRAININGS: list[tuple[str, dict[str, Any]]] = [
    ("lstm-tiny", {"n_epochs": 1}),
    ("lstm-small", {"max_steps": 400}),
    ("lstm-auto", {"max_seconds": 20}),
    ("lstm-small", {"max_steps": 400, "tokenizer": "bpe", "format": "lines"}),
]


def train_here(order: dict[str, Any]) -> None:
    """The training of one order, in this process."""
    from textgen.corpus.sources import Source
    from textgen.training.train import train_files

    wanted = Hyperparameters.parse(order["hyperparameters"])
    with tempfile.TemporaryDirectory() as folder:
        path = train_files(
            [Source(Path(order["path"]))],
            folder=Path(folder),
            preset=order["preset"],
            hyperparameters=wanted,
            threads=order["threads"],
        )
        assert path is not None


def seconds_of(order: dict[str, Any]) -> float:
    """What the training takes, from the start of its process to its end."""
    command = [sys.executable, "-m", "benchmarks.doctor", "--only", json.dumps(order)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    began = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    return time.perf_counter() - began


def compare(corpus: Path, preset: str, options: dict[str, Any], threads: int) -> dict[str, Any]:
    """Estimate and truth for one training."""
    wanted = Hyperparameters.parse({"seed": 0, **options})
    found = forecast_apart(corpus, preset, wanted, threads=threads)
    order = {
        "path": str(corpus),
        "preset": preset,
        "hyperparameters": wanted.model_dump(mode="json", exclude_unset=True),
        "threads": threads,
    }
    took = seconds_of(order)
    return {
        "corpus": corpus.name,
        "preset": preset,
        "options": options,
        "estimate": round(found["seconds"], 1),
        "took": round(took, 1),
        "off": round(found["seconds"] / took - 1, 3),
    }


def main() -> None:
    """Compare all, or train once where a comparison asks for it."""
    parser = argparse.ArgumentParser(description="the doctor's estimates against the truth")
    parser.add_argument("corpora", type=Path, nargs="*")
    parser.add_argument("--first", type=int, default=len(TRAININGS), help="so many trainings")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        train_here(json.loads(arguments.only))
        return
    rows = []
    for corpus in arguments.corpora:
        for preset, options in TRAININGS[: arguments.first]:
            row = compare(corpus, preset, options, arguments.threads)
            rows.append(row)
            print(
                f"{row['corpus']:16} {preset:11} {json.dumps(options):58} estimate "
                f"{row['estimate']:6.1f} s, took {row['took']:6.1f} s, {row['off']:+.0%}",
                flush=True,
            )
    worst = max((abs(row["off"]) for row in rows), default=0.0)
    print(json.dumps({"benchmark": "doctor", "worst": worst, "rows": rows}))


if __name__ == "__main__":
    main()
