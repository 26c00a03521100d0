"""The processes of a group that follow: one of them is `python -m textgen.training.follower`.

It is started by the leader, reads from standard input where to meet, says that it is ready, and
does what the leader says. When standard input closes the leader is gone, and so is it, at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from textgen.allocator import keep_freed_memory
from textgen.corpus.dataset import EncodedCorpus, find_corpus
from textgen.errors import InvalidCorpus, TextgenError, TrainingDiverged, WorkerLost
from textgen.plan import Plan
from textgen.training.group import Processes, joined
from textgen.training.mixture import make_mixture
from textgen.training.trainer import Trainer, new_model

READY = "ready"


@dataclass
class Follower:
    """What one process holds between two orders."""

    group: Processes
    device: torch.device
    corpora: list[EncodedCorpus] = field(default_factory=list)
    trainer: Trainer | None = None

    def follow(self) -> None:
        """Do what the leader says, to the end; the errors are those of the trainer."""
        while (order := self.group.hear())["do"] != "end":
            self._do(order)

    def _do(self, order: dict[str, Any]) -> None:
        match order, self.trainer:
            case {"do": "read", "corpora": named}, _:
                self.corpora = [_corpus(Path(folder), sha256) for folder, sha256 in named]
            case {"do": "begin", "plan": values, "threads": threads}, _:
                torch.set_num_threads(threads)
                plan = Plan.parse(values)
                model = new_model(plan).to(self.device)
                texts = self.corpora if plan.replay is not None else self.corpora[:1]
                mixture = make_mixture(plan, *texts)
                self.trainer = Trainer(plan, model, mixture, self.group)
            case {"do": "restore", "step": step}, Trainer() as trainer:
                trainer.restore_as_leader_does(step)
            case {"do": "advance", "measure": measure}, Trainer() as trainer:
                trainer.advance(measure=measure)
            case {"do": "state"}, Trainer() as trainer:
                trainer.state()
            case _:
                raise NotImplementedError(f"No follower can do {order['do']!r} now.")


def _corpus(folder: Path, sha256: str) -> EncodedCorpus:
    corpus = find_corpus(folder, sha256)
    if corpus is None:
        raise InvalidCorpus(
            f"The text that the leading process encoded is not in {folder}. All processes must see "
            "that folder: put it on a file system that their machines share."
        )
    return corpus


def main() -> int:
    """Follow one leader."""
    where = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the leader too, who decides
    threading.Thread(target=_end_with_the_leader, daemon=True).start()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    keep_freed_memory()
    device = torch.device(where["device"])
    try:
        with joined(where["rank"], where["size"], device, where["meeting"]) as group:
            Follower(group, device).follow()
    except (WorkerLost, TrainingDiverged):
        return 1  # the leader knows as well, and says it
    except TextgenError as error:
        sys.stderr.write(f"Process {where['rank']} of a training: {error.message}\n")
        return 1
    return 0


def _end_with_the_leader() -> None:
    while os.read(sys.stdin.fileno(), 1):  # no lock that the end of the interpreter waits for
        continue
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
