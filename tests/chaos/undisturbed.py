"""The weights that the library ends with when nothing stops it.

A process of its own trains, as a worker's child does: in one whose waiting threads spin, on cores
that others use, a training of two threads takes many times as long.

    python -m tests.chaos.undisturbed TEXT FOLDER < PLAN
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.stack import ROOT
from textgen.bundles.bundle import load_bundle
from textgen.corpus.sources import Source
from textgen.plan import Plan
from textgen.training.train import train_files


class Undisturbed:
    """By plan.

    A plan holds what was measured on a busy machine, so two jobs may have two plans; each is
    compared with a training of its own plan.
    """

    def __init__(self, text: Path, folder: Path) -> None:
        self._text = text
        self._folder = folder
        self._known: dict[str, dict[str, torch.Tensor]] = {}

    def weights(self, plan: Plan) -> dict[str, torch.Tensor]:
        name = plan.digest()
        if name not in self._known:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(self._text), str(self._folder / name)],
                cwd=ROOT, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}, check=True, text=True,
                input=plan.model_dump_json(), stdout=subprocess.PIPE,
            )  # fmt: skip
            bundle = load_bundle(Path(done.stdout.splitlines()[-1]))
            self._known[name] = bundle.model.state_dict()
        return self._known[name]


def main() -> None:
    text, folder = map(Path, sys.argv[1:])
    plan = Plan.model_validate_json(sys.stdin.read())
    sys.stdout.write(
        f"{train_files([Source(text)], folder=folder, plan=plan, threads=plan.threads)}\n"
    )


if __name__ == "__main__":
    main()
