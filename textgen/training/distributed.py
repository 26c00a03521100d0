"""One training on several machines: what torchrun starts on each of them.

    torchrun --nnodes 2 --node-rank N --master-addr HOST --master-port 29400 \\
        -m textgen.training.distributed FILE --folder FOLDER [--preset NAME] [--set NAME=VALUE …]

FOLDER must be seen by all machines; FILE only by the one with node rank 0, which leads. SIGTERM
makes a checkpoint and ends; ``--resume`` goes on from the newest one in FOLDER, where there is one,
and so ``--max-restarts`` makes up for machines that fail. Without it a FOLDER that has checkpoints
is refused. docs/distributed.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from textgen.allocator import keep_freed_memory
from textgen.corpus.sources import Source
from textgen.errors import InvalidOption, TextgenError
from textgen.events import Event
from textgen.numerics import pick_device
from textgen.options import AUTO_PRESET, Hyperparameters
from textgen.training.follower import Follower
from textgen.training.group import LEADER, Processes, joined
from textgen.training.run import checkpoints, step_of
from textgen.training.train import train_files


def main(arguments: Sequence[str] | None = None) -> int:
    """Lead or follow, as the environment that torchrun made says."""
    wanted = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # torchrun passes them on to every process
        signal.signal(number, lambda *_: stop.set())
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = pick_device(wanted.device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    try:
        with joined(rank, size, device, "env://") as group:
            if rank == LEADER:
                return _lead(wanted, group, device, stop)
            keep_freed_memory()
            Follower(group, device).follow()
    except TextgenError as error:
        sys.stderr.write(f"Process {rank} of {size}: {error.message}\n")
        return 1
    return 0


def _lead(
    wanted: argparse.Namespace, group: Processes, device: torch.device, stop: threading.Event
) -> int:
    found = checkpoints(wanted.folder / "checkpoints")
    if found and not wanted.resume:
        raise InvalidOption(
            f"'folder' is {wanted.folder}, which has checkpoints of a training, the newest of step "
            f"{step_of(found[-1])}. Give --resume to go on from it, or another folder.",
            param="folder",
        )
    cores = len(os.sched_getaffinity(0)) // int(os.environ["LOCAL_WORLD_SIZE"])
    values = dict(_option(pair) for pair in wanted.set)
    bundle = train_files(
        [Source(wanted.file)],
        folder=wanted.folder,
        preset=wanted.preset,
        hyperparameters=Hyperparameters.parse(values),
        resume=found[-1] if found else None,
        device=str(device),
        threads=max(1, cores) if wanted.threads is None else wanted.threads,
        on_event=_say,
        should_stop=stop.is_set,
        group=group,
    )
    ended = "Stopped; --resume goes on" if bundle is None else f"The model is {bundle}"
    sys.stdout.write(f"{ended}\n")
    return 0


def _option(pair: str) -> tuple[str, Any]:
    """NAME=VALUE; what is not JSON is a text."""
    name, _, value = pair.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _say(event: Event) -> None:
    sys.stdout.write(f"{event.message}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="textgen.training.distributed")
    parser.add_argument("file", type=Path, help="the text, as the leading machine sees it")
    parser.add_argument("--folder", type=Path, required=True, help="seen by all machines")
    parser.add_argument("--preset", default=AUTO_PRESET)
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--device", default="auto", help="cpu, or cuda: a GPU for each process")
    parser.add_argument("--threads", type=int, help="of each process; the cores shared among them")
    parser.add_argument(
        "--resume", action="store_true", help="from the newest checkpoint in FOLDER"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
