"""What private training costs: loss, speed and what is learnt by heart, with and without it.

    .venv/bin/python -m benchmarks.private_training [LINES] [--steps 300] [--epsilons 8,3]
                                    [--set NAME=VALUE …] [--drawn 512] [--longest 96]

LINES is a text file of documents, one a line; without one it is sentences made of a few words.
Every way trains `lstm-tiny` on bytes for the same number of steps; the last tenth of the lines
validates. Plain training walks through the text in streams, with about as many tokens in a
step as the private one reads, but at most 256 streams. A secret number stands in one line. Figures:
nats per byte of the validation lines; tokens that were read a second of training, and a second of
its one thread's CPU time, which other programs change less; bits of exposure of the secret (as by
chance: about 1; the first guess of 10,000: 13.3). The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from textgen.bundles.bundle import load_bundle
from textgen.bundles.header import read_header
from textgen.corpus.sources import Source
from textgen.evaluation.canaries import exposure
from textgen.evaluation.options import Canary
from textgen.evaluation.scoring import score_rows
from textgen.events import Event
from textgen.options import Hyperparameters
from textgen.training.run import checkpoints
from textgen.training.train import train_files

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran", "to", "man", "who", "had"]
CANARY = Canary.parse({"template": "my secret number is {}", "secret": "4093"})


def main() -> None:
    arguments = read_arguments()
    lines = read_lines(arguments.lines)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held_out = len(lines) - len(lines) // 10
        learnt = [*lines[:held_out], CANARY.fill(CANARY.secret)]
        sources = (
            write(folder / "train.txt", learnt),
            write(folder / "valid.txt", lines[held_out:]),
        )
        tokens = sum(min(len(line.encode()) + 1, arguments.longest) for line in learnt)
        drawn = min(arguments.drawn, len(learnt))
        per_step = round(drawn * tokens / len(learnt))
        common = {"max_steps": arguments.steps, "seed": 1, **arguments.set}
        length = min(64, arguments.longest)
        streams = min(256, max(1, per_step // length))
        plain = {**common, "tokenizer": "byte", "batch_size": streams, "sequence_length": length}
        rows = [measure("plain", plain, sources, folder / "plain", per_step)]
        for epsilon in arguments.epsilons:
            privacy = {
                "epsilon": epsilon,
                "documents_per_step": drawn,
                "max_document_tokens": arguments.longest,
            }
            values = {**common, "privacy": privacy}
            where = folder / f"{epsilon}"
            rows.append(measure(f"epsilon {epsilon:g}", values, sources, where, per_step))
    print(json.dumps({"documents": len(learnt), "tokens_per_step": per_step, "rows": rows}))


def measure(
    way: str, values: dict[str, Any], sources: tuple[Source, ...], folder: Path, per_step: int
) -> dict[str, Any]:
    """One training; its figures, printed as they come."""
    train, valid = sources
    clocks = (time.process_time(), time.perf_counter())

    def on_event(event: Event) -> None:
        nonlocal clocks
        if event.type == "plan":
            clocks = (time.process_time(), time.perf_counter())

    path = train_files(
        [train],
        validation_sources=[valid],
        folder=folder,
        preset="lstm-tiny",
        hyperparameters=Hyperparameters.parse(values),
        on_event=on_event,
    )
    share = (time.process_time() - clocks[0]) / (time.perf_counter() - clocks[1])
    assert path is not None
    header = read_header(path)
    state = read_header(checkpoints(folder / "checkpoints")[-1]).training
    assert header.plan is not None
    assert state is not None
    if header.plan.privacy is None:
        per_step = header.plan.tokens_per_step
    row = {
        "way": way,
        "loss": header.metrics["full_valid_loss"],
        "tokens_per_step": per_step,
        "tokens_per_second": round(per_step * state.step / state.seconds),
        "tokens_per_cpu_second": round(per_step * state.step / (state.seconds * share)),
        "exposure": exposed(path),
        "epsilon_spent": header.metrics.get("epsilon_spent"),
        "noise_multiplier": header.plan.privacy and header.plan.privacy.noise_multiplier,
    }
    print(row, flush=True)
    return row


def exposed(path: Path) -> float:
    bundle = load_bundle(path)

    def nats(texts: Iterable[str]) -> Iterable[float]:
        return (score.nats for score in score_rows(bundle, texts))

    return exposure(nats, CANARY).bits


def read_lines(path: Path | None) -> list[str]:
    if path is not None:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    generator = random.Random(0)
    return [" ".join(generator.choices(WORDS, k=generator.randint(3, 12))) for _ in range(8000)]


def write(path: Path, lines: list[str]) -> Source:
    path.write_text("\n".join(lines), encoding="utf-8")
    return Source(path, format="lines")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("lines", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--drawn", type=int, default=512)
    parser.add_argument("--longest", type=int, default=96)
    parser.add_argument("--epsilons", type=lambda text: [float(e) for e in text.split(",")],
                        default=[8.0, 3.0])  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    pairs = (pair.partition("=") for pair in arguments.set)
    arguments.set = {name: json.loads(value) for name, _, value in pairs}
    return arguments


if __name__ == "__main__":
    main()
