"""What a training holds, and what the jobs' side of the library costs.

    .venv/bin/python benchmarks/memory.py [--large 1000] [--small 10] [--steps 300]

Memory is RssAnon at its highest, of ``train_files`` with ``lstm-small`` on a text of so many MB,
made in a temporary folder, in a process of its own. The overhead is the time of a step of
``train_files``, events and checkpoints with it and nothing validated, over that of the bare
Trainer on the same corpus and plan, one after the other. The last line is a JSON object.
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
import threading
import time
from pathlib import Path
from typing import Any

STEPS = 100
MEGABYTE = 1 << 20


def write_text(path: Path, size: int) -> None:
    """``size`` megabytes of the standard library's sources, repeated, each time with a number."""
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = "".join(each.read_text(encoding="utf-8", errors="ignore") for each in sources)
    text = text.encode("ascii", "ignore").decode()
    with path.open("w", encoding="ascii") as file:
        number = 0
        while file.tell() < size * MEGABYTE:
            file.write(f"# part {number}\n{text[: size * MEGABYTE - file.tell()]}")
            number += 1


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) << 10


def train(path: Path, steps: int, validation: float = 0.01, **more: Any) -> None:
    from textgen.corpus.sources import Source
    from textgen.options import Hyperparameters
    from textgen.training.train import train_files

    wanted = Hyperparameters(
        max_steps=steps, tokenizer="char", seed=0, validation_fraction=validation
    )
    with tempfile.TemporaryDirectory() as folder:
        train_files(
            [Source(path)], folder=Path(folder), preset="lstm-small", hyperparameters=wanted, **more
        )


def highest(path: Path, steps: int) -> int:
    """The most anonymous memory that a training held, looked at twenty times a second."""
    seen = [anonymous_bytes()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    train(path, steps)
    done.set()
    watcher.join()
    return max(seen)


def overhead(path: Path, steps: int) -> dict[str, float]:
    """Seconds of ``steps`` steps: by train_files from its first step on, and by the bare loop."""
    import torch

    from textgen.corpus.encode import encode_corpus
    from textgen.corpus.sources import Source
    from textgen.options import Hyperparameters
    from textgen.plan import Plan
    from textgen.training.mixture import make_mixture
    from textgen.training.trainer import Trainer, new_model

    plans: list[Plan] = []
    marks: dict[str, float] = {}

    def listen(event: Any) -> None:
        if event.type == "plan":
            plans.append(Plan.parse(event.data["plan"]))
            marks["plan"] = time.perf_counter()
        if event.type == "checkpoint" and event.data["step"] == steps:
            marks["end"] = time.perf_counter()

    train(path, steps, 0.0, on_event=listen, threads=1, checkpoint_seconds=(2, 300))
    whole = marks["end"] - marks["plan"]
    plan = plans[0]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Hyperparameters(tokenizer="char", validation_fraction=0.0)
        corpus = encode_corpus([Source(path)], wanted, Path(folder))
        torch.set_num_threads(plan.threads)
        trainer = Trainer(plan, new_model(plan), make_mixture(plan, corpus))
        started = time.perf_counter()
        for _ in range(steps):
            trainer.advance()
        bare = time.perf_counter() - started
    return {"train_files": whole, "bare": bare}


def apart(*more: str) -> Any:
    command = [sys.executable, __file__, *more]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="memory and overhead of trainings")
    parser.add_argument("--large", type=int, default=1000, help="megabytes")
    parser.add_argument("--small", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", choices=("memory", "overhead"))
    parser.add_argument("--text", type=Path)
    arguments = parser.parse_args()
    if arguments.only == "memory":
        print(highest(arguments.text, STEPS))
        return
    if arguments.only == "overhead":
        print(json.dumps(overhead(arguments.text, arguments.steps)))
        return
    result: dict[str, Any] = {"benchmark": "memory"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        for size in dict.fromkeys((arguments.small, arguments.large)):
            write_text(path, size)
            held = apart("--only", "memory", "--text", str(path)) / MEGABYTE
            print(f"training on {size:5} MB holds {held:7.1f} MB", flush=True)
            result[f"{size} MB"] = held
        if arguments.turns:
            write_text(path, arguments.small)
            shares = []
            for _ in range(arguments.turns):
                options = ("--steps", str(arguments.steps), "--text", str(path))
                found = apart("--only", "overhead", *options)
                shares.append(found["train_files"] / found["bare"] - 1)
            low, middle, high = min(shares), statistics.median(shares), max(shares)
            print(f"train_files over the bare loop {middle:+.1%} ({low:+.1%} to {high:+.1%})")
            result["overhead"] = shares
    ratio = result[f"{arguments.large} MB"] / result[f"{arguments.small} MB"]
    print(f"ratio of memory {ratio:.2f}")
    print(json.dumps(result | {"ratio": ratio}))


if __name__ == "__main__":
    main()
