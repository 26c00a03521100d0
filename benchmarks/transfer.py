"""Fine-tuning against training from scratch on the same text for the same seconds.

    .venv/bin/python -m benchmarks.transfer [OLD NEW] [--package flask] [--kilobytes 100]
                     [--pretrain-seconds 240] [--seconds 20] [--seeds 0,1,2] [--preset lstm-auto]
                     [--base BUNDLE] [--replay 0.2] [--threads N] [--set NAME=VALUE …]

A model is trained once on OLD, then goes on from there on NEW; beside it ``lstm-auto`` starts from
scratch on NEW. Without files OLD is what the Python that runs this has as its standard library
(tests left out), and NEW the first kilobytes of an installed package's sources. The last tenth of
each text is held out. ``--base`` takes a model that was trained on OLD before. With ``--replay`` a
third training keeps that share of its rows for OLD.

Each training is a process of its own, the ways in turns, seed by seed. Losses are nats per
character on the whole held-out part, by the weights that did best on the way. The last line is a
JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.quality import ENVIRONMENT

_OLD_CHARACTERS = 6_000_000
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def standard_library() -> str:
    """Sources of the standard library, in an order of chance that is always the same."""
    root = Path(sysconfig.get_path("stdlib"))
    found = (path for path in root.rglob("*.py") if not _LEFT_OUT & {*path.relative_to(root).parts})
    files = sorted(found)
    random.Random(0).shuffle(files)
    texts = (path.read_text(encoding="utf-8", errors="ignore") for path in files)
    return "".join(texts)[:_OLD_CHARACTERS]


def package_sources(name: str, characters: int) -> str:
    """The beginning of an installed package's sources, in the order of their paths."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The package {name!r} is not installed; name another with --package.")
    files = sorted(Path(spec.origin).parent.rglob("*.py"))
    text = "".join(path.read_text(encoding="utf-8", errors="ignore") for path in files)
    if len(text) < characters:
        raise SystemExit(f"{name} has {len(text):,} characters, fewer than {characters:,}.")
    return text[:characters]


def train(order: dict[str, Any]) -> dict[str, Any]:
    """One training in this process; its figures."""
    from textgen.bundles.bundle import read_header
    from textgen.corpus.sources import Source
    from textgen.options import Hyperparameters
    from textgen.training.replay import OldText
    from textgen.training.train import train_files

    started = time.perf_counter()
    old = Source(Path(order["old"]))
    path = train_files(
        [Source(Path(order["text"]))],
        folder=Path(order["folder"]),
        preset=order["preset"],
        hyperparameters=Hyperparameters.parse(order["wanted"]),
        base=None if order["base"] is None else Path(order["base"]),
        replay=OldText([old]) if "replay_fraction" in order["wanted"] else None,
        threads=order["threads"],
    )
    wall = time.perf_counter() - started
    assert path is not None
    header = read_header(path)
    assert header.plan is not None
    return {
        "bundle": str(path),
        "model": f"{header.plan.model.layers}x{header.plan.model.hidden_size}",
        "batch": header.plan.batch_size,
        "dropout": header.plan.model.dropout,
        "learning_rate": header.plan.learning_rate,
        "steps": header.plan.total_steps,
        "wall": round(wall, 1),
        "train_loss": header.metrics["train_loss"],
        "valid_loss": header.metrics["full_valid_loss"],
        "old_valid_loss": old_loss(path, old),
    }


def old_loss(bundle: Path, old: Any) -> float:
    """The loss of a model on what is held out of the old text; characters unknown to it count."""
    from textgen.bundles.bundle import load_bundle
    from textgen.corpus.encode import encode_corpus
    from textgen.evaluation.measures import evaluate
    from textgen.options import Hyperparameters

    loaded = load_bundle(bundle)
    with tempfile.TemporaryDirectory() as folder:
        corpus = encode_corpus(
            [old], Hyperparameters(), Path(folder), tokenizer=loaded.tokenizer, widen=False
        )
        few = corpus.tokens("valid")[:100_000]
        return evaluate(loaded.model, few, characters_per_token=1.0).loss


def apart(order: dict[str, Any]) -> dict[str, Any]:
    """One training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.transfer", "--only", json.dumps(order)]
    environment = ENVIRONMENT | os.environ
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    result: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return result


def show(way: str, row: dict[str, Any]) -> None:
    """A line of the table."""
    losses = " ".join(
        f"{row[name]:7.4f}" for name in ("train_loss", "valid_loss", "old_valid_loss")
    )
    print(f"{way:12} {row['model']:7} {row['steps']:6} {row['dropout']:8.2f} {losses}", flush=True)


def compare(arguments: argparse.Namespace, folder: Path, old: Path, new: Path) -> dict[str, Any]:
    """Pre-train once, then the ways in turns."""
    changes = (change.split("=", 1) for change in arguments.set)
    wanted = {"max_seconds": arguments.seconds}
    tuned = {**wanted, **{name: json.loads(value) for name, value in changes}}
    common = {"old": str(old), "preset": "lstm-auto", "threads": arguments.threads}
    print(f"{'way':12} {'model':7} {'steps':>6} {'dropout':>8}   train   valid     old")
    before = None
    bundle = arguments.base
    if bundle is None:
        first = {"tokenizer": "char", "max_seconds": arguments.pretrain_seconds, "seed": 0}
        place = {"text": str(old), "folder": str(folder / "base"), "base": None}
        before = apart({**common, **place, "preset": arguments.preset, "wanted": first})
        bundle = before.pop("bundle")
        show("pre-trained", before)
    common["text"] = str(new)
    ways: dict[str, dict[str, Any]] = {
        "fine-tuned": {"base": bundle, "wanted": tuned},
        "from scratch": {"base": None, "wanted": {"tokenizer": "char", **wanted}},
    }
    if arguments.replay:
        kept = {**tuned, "replay_fraction": arguments.replay}
        ways["with replay"] = {"base": bundle, "wanted": kept}
    rows: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for seed in map(int, arguments.seeds.split(",")):
        for way, order in ways.items():
            seeded = {
                "folder": str(folder / f"{way}-{seed}"),
                "wanted": {**order["wanted"], "seed": seed},
            }
            row = apart({**common, **order, **seeded})
            del row["bundle"]
            rows[way].append({"seed": seed, **row})
            show(way, row)
    return {"pre_trained": before, **rows}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="fine-tuning against training from scratch")
    parser.add_argument("files", nargs="*", type=Path, metavar="OLD NEW")
    parser.add_argument("--package", default="flask")
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--pretrain-seconds", type=float, default=240)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--base", metavar="BUNDLE", help="a model of OLD instead of pre-training")
    parser.add_argument("--preset", default="lstm-auto", help="of the pre-training")
    parser.add_argument("--replay", type=float, help="share of the rows for the old text")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if len(arguments.files) not in (0, 2):
        parser.error("give two files, or none")
    return arguments


def main() -> None:
    """Compare, or train once where a comparison asks for it."""
    arguments = parse()
    if arguments.only:
        print(json.dumps(train(json.loads(arguments.only))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.files:
            old, new = arguments.files
        else:
            old, new = folder / "old.txt", folder / "new.txt"
            old.write_text(standard_library(), encoding="utf-8")
            text = package_sources(arguments.package, 1000 * arguments.kilobytes)
            new.write_text(text, encoding="utf-8")
        found = compare(arguments, folder, old, new)
    medians = {
        way: {
            loss: statistics.median(row[loss] for row in rows)
            for loss in ("valid_loss", "old_valid_loss")
        }
        for way, rows in found.items()
        if isinstance(rows, list)
    }
    gain = medians["from scratch"]["valid_loss"] - medians["fine-tuned"]["valid_loss"]
    result = {"benchmark": "transfer", "gain_nats": round(gain, 4), "medians": medians, **found}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
