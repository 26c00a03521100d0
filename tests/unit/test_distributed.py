"""Several processes train one model: the same curve as one, whoever dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.unit.training_files import Listener, outcome, same_weights, small, text_file
from textgen.bundles.bundle import Bundle
from textgen.errors import InvalidOption, TrainingDiverged, WorkerLost
from textgen.events import Event
from textgen.training.group import ALONE, Processes, own_rows
from textgen.training.run import checkpoints
from textgen.training.train import train_files

REPO = Path(__file__).resolve().parents[2]
# Everything that is drawn at random or differs from row to row; three rows for one process, two
# for the other, and the border lies within the rows of one objective.
WANTED = small(
    workers=2, batch_size=5, objectives={"causal": 2, "infill": 3}, dropout=0.2, input_dropout=0.1,
    embedding_dropout=0.1, weight_dropout=0.1, layer_norm=True, max_steps=40,
    precision="float32",
)  # fmt: skip


def train(folder: Path, listener: Listener | None = None, **options: Any) -> Path | None:
    values = {
        "hyperparameters": WANTED, "device": "cpu", "threads": 2, "folder": folder / "work",
        "on_event": Listener() if listener is None else listener,
    }  # fmt: skip
    return train_files([text_file(folder)], **{**values, **options})


def finished(folder: Path, listener: Listener | None = None, **options: Any) -> Path:
    path = train(folder, listener, **options)
    assert path is not None
    return path


def after(count: int) -> Callable[[], bool]:
    asked = iter(range(10**9))
    return lambda: next(asked) >= count


def newest(folder: Path) -> Path:
    return checkpoints(folder / "work" / "checkpoints")[-1]


def curve(listener: Listener) -> list[float]:
    """Losses and accuracies of every measurement, in a row."""
    return [
        value
        for metrics in listener.all("metrics")
        for name, value in sorted(metrics.items())
        if ("loss" in name or "accuracy" in name) and value is not None
    ]


def followers(process: psutil.Process) -> list[psutil.Process]:
    return [
        child
        for child in process.children(recursive=True)
        if "textgen.training.follower" in child.cmdline()
    ]


Whole = tuple[Bundle, dict[str, Any], Listener]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What two processes make of it when nothing happens."""
    told = Listener()
    bundle, facts = outcome(finished(tmp_path_factory.mktemp("whole"), told))
    assert followers(psutil.Process()) == []
    return bundle, facts, told


def test_two_processes_learn_what_one_does(tmp_path: Path, whole: Whole) -> None:
    """Dropout included: the masks are those of the whole batch."""
    together, _, told = whole
    assert told.plan.workers == 2
    assert told.plan.threads == 1
    assert "workers 2" in told.plan.numerics
    alone = Listener()
    plan = told.plan.model_copy(update={"workers": 1})
    bundle, _ = outcome(finished(tmp_path, alone, plan=plan, threads=1))
    assert curve(told) == pytest.approx(curve(alone), abs=2e-5)
    for name, value in bundle.model.state_dict().items():
        torch.testing.assert_close(
            together.model.state_dict()[name], value, atol=1e-4, rtol=1e-3, msg=name
        )


def test_a_stop_in_between_changes_no_bit(tmp_path: Path, whole: Whole) -> None:
    before, facts, told = whole
    parts = Listener()
    assert train(tmp_path, parts, plan=told.plan, should_stop=after(17)) is None
    assert followers(psutil.Process()) == []
    bundle, same_facts = outcome(finished(tmp_path, parts, plan=told.plan, resume=newest(tmp_path)))
    assert same_weights(before, bundle)
    assert facts == same_facts
    assert parts.measurements() == told.measurements()


def test_it_goes_on_with_another_number_of_processes(tmp_path: Path, whole: Whole) -> None:
    """On a machine with one core where there were two; the checkpoint has all rows' states."""
    _, _, told = whole
    parts = Listener()
    assert train(tmp_path, parts, plan=told.plan, should_stop=after(17)) is None
    finished(tmp_path, parts, resume=newest(tmp_path), threads=1)
    (change,) = parts.all("numerics_changed")
    assert change["was"] == told.plan.numerics
    assert "workers" not in change["now"]
    assert curve(parts) == pytest.approx(curve(told), abs=2e-5)


def test_a_process_that_dies_ends_the_training_and_costs_no_bit(
    tmp_path: Path, whole: Whole
) -> None:
    before, facts, told = whole

    class Killer(Listener):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            if event.type == "checkpoint" and event.data["step"] == 12:
                (follower,) = followers(psutil.Process())
                follower.kill()

    started = time.monotonic()
    with pytest.raises(WorkerLost, match="gone"):
        train(tmp_path, Killer(), plan=told.plan, checkpoint_seconds=(0, 0))
    assert time.monotonic() - started < 120
    assert followers(psutil.Process()) == []
    assert newest(tmp_path).stem == "step-12"
    bundle, same_facts = outcome(finished(tmp_path, plan=told.plan, resume=newest(tmp_path)))
    assert same_weights(before, bundle)
    assert facts == same_facts


def test_a_training_that_diverges_says_so_once(tmp_path: Path, whole: Whole) -> None:
    plan = whole[2].plan.model_copy(update={"learning_rate": 1e38})
    with pytest.raises(TrainingDiverged, match="smaller one"):
        train(tmp_path, plan=plan)
    assert followers(psutil.Process()) == []


# A training worker in short: it starts a child, as the real one does, and says how that ended.
PARENT = """
import queue, sys
from pathlib import Path
from worker.children.process import ChildProcess
from worker.children.sources import SourceFile
from worker.training.order import TrainingOrder

folder = Path(sys.argv[1])
order = TrainingOrder(
    sources=(SourceFile(path=folder / "text.txt", name="text.txt"),), preset="lstm-tiny",
    hyperparameters={"workers": 2, "max_steps": 1_000_000, "batch_size": 4}, folder=folder / "work",
    device="cpu", threads=2, checkpoint_seconds=(300, 300),
)
with ChildProcess(order, "worker.training.child") as child:
    while (message := child.receive(300)) is not None:
        event = message.get("event", message)
        if event.get("type") in ("plan", "checkpoint"):
            child.send({"acknowledge": True})
        print(event.get("type", event), flush=True)
    print(child.exit_description(), flush=True)
"""


@pytest.mark.parametrize("victim", ["parent", "child", "follower"])
def test_nobody_outlives_the_others(tmp_path: Path, victim: str) -> None:
    text_file(tmp_path)
    (tmp_path / "work").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        for line in parent.stdout:
            if line.strip() == "progress":
                break
        (child,) = psutil.Process(parent.pid).children()
        (follower,) = child.children()
        os.kill({"parent": parent.pid, "child": child.pid, "follower": follower.pid}[victim],
                signal.SIGKILL)  # fmt: skip
        _, alive = psutil.wait_procs([child, follower], timeout=60)
        assert alive == []
        last = parent.stdout.read().splitlines()[-1:]
    # The worker puts a training back that ended without a last word, as a loss.
    ends = {"parent": None, "child": "signal SIGKILL", "follower": "exit status 1"}
    assert ends[victim] is None or last[0].startswith(ends[victim])


def test_workers_without_cores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"'workers' is 2.*Give at most 1") as error:
        train(tmp_path, threads=1)
    assert error.value.param == "workers"


def test_more_workers_than_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="a batch has 1 rows") as error:
        train(tmp_path, hyperparameters=small(workers=2, batch_size=1))
    assert error.value.param == "workers"
    assert followers(psutil.Process()) == []


def test_workers_that_others_did_not_start_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="1 processes were started"):
        train(tmp_path, group=ALONE)


def test_a_process_that_cannot_start_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerLost, match="did not start"):
        train(tmp_path)


@pytest.mark.parametrize(("size", "rows"), [(1, 5), (2, 5), (3, 7), (4, 4)])
def test_every_row_is_somebodys(size: int, rows: int) -> None:
    shares = [own_rows(Processes(rank, size), rows) for rank in range(size)]
    assert [row for share in shares for row in range(rows)[share]] == list(range(rows))
    assert {share.stop - share.start for share in shares} <= {rows // size, -(-rows // size)}


def test_a_folder_with_checkpoints_is_refused_unless_it_is_to_go_on(tmp_path: Path) -> None:
    saved = tmp_path / "work" / "checkpoints" / "step-40.safetensors"
    saved.parent.mkdir(parents=True)
    saved.write_bytes(b"of another training")
    arguments = [str(text_file(tmp_path).path), "--folder", str(tmp_path / "work")]
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    place = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1,
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "textgen.training.distributed", *arguments, "--device", "cpu"],
        cwd=REPO,
        env={**os.environ, **{name: str(value) for name, value in place.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert all(each in ended.stderr for each in (str(tmp_path / "work"), "--resume", "step 40"))
    assert saved.read_bytes() == b"of another training"


WAITING = """
import sys, time
from datetime import timedelta
import torch
from textgen.errors import WorkerLost
from textgen.training import group

group._PATIENCE = timedelta(seconds=8)
rank, cpu = int(sys.argv[1]), torch.device("cpu")
with group.joined(rank, 2, cpu, sys.argv[2]) as both:
    if rank == 0:
        time.sleep(11)  # as when it reads a large text
        both.tell("end")
        time.sleep(11)  # as when it hangs within a step
    else:
        print(both.hear()["do"])
        try:
            both.sum([torch.ones(1)])
        except WorkerLost:
            print("lost")
"""


@pytest.mark.slow
def test_an_order_is_waited_for_longer_than_a_sum(tmp_path: Path) -> None:
    meeting = (tmp_path / "meeting").as_uri()
    leader, follower = (
        subprocess.Popen(
            [sys.executable, "-c", WAITING, str(rank), meeting],
            cwd=REPO,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    )
    said, _ = follower.communicate(timeout=120)
    leader.communicate(timeout=120)
    assert said.split() == ["end", "lost"]
