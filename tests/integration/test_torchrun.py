"""Two torchrun agents on one machine, as on two: the same model as the library's own processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.unit.training_files import SMALL, Listener, outcome, small, text_file
from textgen.training.run import checkpoints
from textgen.training.train import train_files

REPO = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def agent(number: int, port: int, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """What one runs on each machine."""
    wanted = {**SMALL, "precision": "float32"}
    settings = [f"--set={name}={value}" for name, value in wanted.items()]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
            *(f"--node-rank={number}", "--master-addr=127.0.0.1", f"--master-port={port}"),
            *("-m", "textgen.training.distributed", str(folder / "text.txt")),
            *("--folder", str(folder / "work"), "--device=cpu", "--threads=1", *settings),
            *arguments,
        ],
        cwd=REPO,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *arguments: str) -> list[str]:
    """The output of both agents, after both ended well."""
    port = free_port()
    with agent(0, port, folder, *arguments) as first, agent(1, port, folder, *arguments) as second:
        outputs = [process.communicate(timeout=240)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    return outputs


@pytest.mark.slow
def test_two_agents_train_what_one_process_trains(tmp_path: Path) -> None:
    source = text_file(tmp_path)
    (tmp_path / "work").mkdir()
    outputs = run(tmp_path)
    assert f"The model is {tmp_path / 'work' / 'model.safetensors'}" in outputs[0]
    assert "The model is" not in outputs[1]
    bundle, _ = outcome(tmp_path / "work" / "model.safetensors")
    assert bundle.header.plan is not None
    assert bundle.header.plan.workers == 2

    alone = Listener()
    plan = bundle.header.plan.model_copy(update={"workers": 1})
    path = train_files(
        [source], folder=tmp_path / "alone", hyperparameters=small(), plan=plan, device="cpu",
        on_event=alone,
    )  # fmt: skip
    assert path is not None
    loss = alone.all("metrics")[-1]["full_valid_loss"]
    assert bundle.header.metrics["full_valid_loss"] == pytest.approx(loss, abs=2e-5)

    assert checkpoints(tmp_path / "work" / "checkpoints")
    again = run(tmp_path, "--resume")  # at the last step already
    assert "The model is" in again[0]


@pytest.mark.slow
def test_sigterm_makes_a_checkpoint_and_leaves_nobody(tmp_path: Path) -> None:
    text_file(tmp_path)
    (tmp_path / "work").mkdir()
    port, endless = free_port(), "--set=max_steps=1000000"
    with (
        agent(0, port, tmp_path, endless) as first,
        agent(1, port, tmp_path, endless) as second,
    ):
        assert first.stdout is not None
        said = next((line for line in first.stdout if "training loss" in line), None)
        assert said is not None
        workers = [
            worker
            for each in (first, second)
            for worker in psutil.Process(each.pid).children(recursive=True)
        ]
        first.send_signal(signal.SIGTERM)
        rest = first.stdout.read()
        second.communicate(timeout=120)
    assert "Stopped; --resume goes on" in rest
    assert checkpoints(tmp_path / "work" / "checkpoints")
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []
