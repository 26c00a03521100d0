"""What a training holds, and what the jobs' side of the library costs.

    .venv/bin/python benchmarks/memory.py [--large 1000] [--small 10] [--steps 2000] [--turns 5]

Memory is RssAnon at its highest, of ``train_files`` with ``lstm-small`` on a text of so many MB,
made in a temporary folder, in a process of its own. The overhead is what the steps of
``train_files`` take, events and checkpoints with them and nothing validated, over those of the
bare Trainer on the same corpus and plan, on one thread; each turn has both in one process, every
other turn the bare one first. It is told by the clock and by CPU time, which other programs
disturb less. A training measures its loss a hundred times however long it is, so the steps matter:
2,000 are about a minute. The last line is a JSON object.
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

import torch

from textgen.corpus.encode import encode_corpus
from textgen.corpus.sources import Source
from textgen.events import Event
from textgen.options import Hyperparameters
from textgen.plan import Plan
from textgen.training.mixture import make_mixture
from textgen.training.train import train_files
from textgen.training.trainer import Trainer, new_model

STEPS = 100  # of which the memory is looked at
WARM_STEPS = 2  # of a job that is only to make the plan
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


def now() -> tuple[float, float]:
    """Seconds by the clock and of this process on a CPU."""
    return time.perf_counter(), time.process_time()


def job(path: Path, steps: int) -> tuple[Plan, list[float]]:
    """The plan of ``train_files``, and what its steps took, checkpoints and events with them."""
    plans: list[Plan] = []
    marks: dict[str, tuple[float, float]] = {}

    def listen(event: Event) -> None:
        if event.type == "plan":
            plans.append(Plan.parse(event.data["plan"]))
            marks["begin"] = now()
        if event.type == "checkpoint" and event.data["step"] == steps:
            marks["end"] = now()

    train(path, steps, 0.0, on_event=listen, threads=1, checkpoint_seconds=(2, 300))
    return plans[0], [end - begin for begin, end in zip(marks["begin"], marks["end"], strict=True)]


def bare(path: Path, plan: Plan, steps: int) -> list[float]:
    """What so many steps of the Trainer alone take."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Hyperparameters(tokenizer="char", validation_fraction=0.0)
        corpus = encode_corpus([Source(path)], wanted, Path(folder))
        torch.set_num_threads(plan.threads)
        trainer = Trainer(plan, new_model(plan), make_mixture(plan, corpus))
        begin = now()
        for _ in range(steps):
            trainer.advance()
        return [after - before for before, after in zip(begin, now(), strict=True)]


def overhead(path: Path, steps: int, bare_first: bool) -> dict[str, float]:
    """The share that a job's steps take more than bare ones, by clock and CPU time."""
    plan, first = job(path, WARM_STEPS if bare_first else steps)
    if bare_first:
        alone = bare(path, plan, steps)
        _, whole = job(path, steps)
    else:
        whole, alone = first, bare(path, plan, steps)
    shares = [more / less - 1 for more, less in zip(whole, alone, strict=True)]
    return dict(zip(("clock", "cpu"), shares, strict=True))


def apart(*more: str) -> Any:
    command = [sys.executable, __file__, *more]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="memory and overhead of trainings")
    parser.add_argument("--large", type=int, default=1000, help="megabytes")
    parser.add_argument("--small", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2000, help="of which an overhead is measured")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", choices=("memory", "overhead"))
    parser.add_argument("--text", type=Path)
    parser.add_argument("--bare-first", action="store_true")
    arguments = parser.parse_args()
    if arguments.only == "memory":
        print(highest(arguments.text, STEPS))
        return
    if arguments.only == "overhead":
        print(json.dumps(overhead(arguments.text, arguments.steps, arguments.bare_first)))
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
            options = ("--only", "overhead", "--steps", str(arguments.steps), "--text", str(path))
            turns = [
                apart(*options, *(("--bare-first",) if turn % 2 else ()))
                for turn in range(arguments.turns)
            ]
            for by in ("clock", "cpu"):
                shares = sorted(turn[by] for turn in turns)
                print(
                    f"a job's steps over bare ones by {by}: {statistics.median(shares):+.1%} "
                    f"({shares[0]:+.1%} to {shares[-1]:+.1%})"
                )
            result["overhead"] = turns
    result["ratio"] = result[f"{arguments.large} MB"] / result[f"{arguments.small} MB"]
    print(f"ratio of memory {result['ratio']:.2f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
