"""How well labels are learnt: from scratch, beside `causal`, and going on from a language model.

    .venv/bin/python -m benchmarks.classification [--rows 300] [--steps 400] [--seeds 0]
                                                  [--preset lstm-tiny] [--base-steps 1500]

The classes are ten packages of Python's standard library, the texts three joined lines of their
sources; the language model has read single modules outside of them. All are trained by steps, not
seconds, on one thread, so the figures do not depend on the machine's load. The last line is a JSON
object.
"""

from __future__ import annotations

import argparse
import json
import random
import sysconfig
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

PACKAGES = (
    "asyncio", "email", "tkinter", "unittest", "xml", "json", "http", "logging", "multiprocessing",
    "ctypes",
)  # fmt: skip
LIBRARY = Path(sysconfig.get_path("stdlib"))
SHORTEST, LONGEST = 40, 124  # characters of a text
MEASURED = 60  # texts of each class
MODULES = 60  # that the language model reads


def passages(file: Path) -> list[str]:
    """Three lines each, joined."""
    text = file.read_text(encoding="utf-8", errors="ignore")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [" ".join(lines[first : first + 3]) for first in range(0, len(lines) - 2, 3)]


def write(folder: Path, rows: int) -> None:
    """train.jsonl, valid.jsonl and lm.txt."""
    draw = random.Random(0)
    train, valid = [], []
    for package in PACKAGES:
        files = sorted((LIBRARY / package).rglob("*.py"))
        texts = {text for file in files if "test" not in file.parts for text in passages(file)}
        fitting = sorted(text for text in texts if SHORTEST <= len(text) <= LONGEST)
        draw.shuffle(fitting)
        labelled = [{"text": text, "label": package} for text in fitting]
        valid += labelled[:MEASURED]
        train += labelled[MEASURED : MEASURED + rows]
    for name, part in (("train", train), ("valid", valid)):
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    modules = [text for file in sorted(LIBRARY.glob("*.py"))[:MODULES] for text in passages(file)]
    (folder / "lm.txt").write_text("\n".join(modules), encoding="utf-8")


def train(folder: Path, name: str, preset: str, base: Path | None = None, **wanted: Any) -> Path:
    """One training on one thread; the bundle's path."""
    from textgen.corpus.sources import Source
    from textgen.options import Hyperparameters
    from textgen.training.train import train_files

    path = train_files(
        [Source(folder / name)],
        validation_sources=[Source(folder / "valid.jsonl")] if name == "train.jsonl" else (),
        folder=Path(tempfile.mkdtemp(dir=folder)),
        preset=preset,
        hyperparameters=Hyperparameters.parse({"batch_size": 16, **wanted}),
        base=base,
        threads=1,
    )
    assert path is not None
    return path


def run(folder: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every way, at its own peak rate and at the other's: going on begins at 0.3 of scratch's."""
    from textgen.bundles.bundle import read_header

    reading = {"max_steps": arguments.base_steps, "format": "lines", "seed": 0}
    base = train(folder, "lm.txt", arguments.preset, **reading)
    seeds = tuple(map(int, arguments.seeds.split(",")))
    starts = (("scratch", None, (1.0, 0.3)), ("language model", base, (1.0, 3.3)))
    for (start, path, rates), objectives in product(starts, ("classify", "classify,causal")):
        for rate, seed in product(rates, seeds):
            wanted = {"objectives": objectives, "learning_rate_multiplier": rate, "seed": seed}
            steps = {"max_steps": arguments.steps}
            model = train(folder, "train.jsonl", arguments.preset, path, **wanted, **steps)
            figures = read_header(model).metrics
            yield {
                "from": start,
                **wanted,
                "log_loss": figures["full_valid_classify_loss"],
                "accuracy": figures["full_valid_accuracy"],
                "f1": figures["full_valid_f1"],
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=300, help="of each class to learn from")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--base-steps", type=int, default=1500)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--preset", default="lstm-tiny")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), arguments.rows)
        for result in run(Path(name), arguments):
            results.append(result)
            print(json.dumps(result), flush=True)
    print(json.dumps({"rows": arguments.rows, "steps": arguments.steps, "results": results}))


if __name__ == "__main__":
    main()
