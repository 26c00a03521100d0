"""A group of processes on this machine, led by the one that starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

import textgen
from textgen.errors import InvalidOption, WorkerLost
from textgen.options import Hyperparameters
from textgen.plan import Plan
from textgen.training.follower import READY
from textgen.training.group import ALONE, LEADER, Group, joined

_INTERFACE = "GLOO_SOCKET_IFNAME"


def workers_here(
    wanted: Hyperparameters, plan: Plan | None, device: torch.device, threads: int
) -> int:
    """How many processes train: as many as asked for, each with a core or a GPU of its own.

    Too many are refused while there is no plan; a plan that was made on a larger machine goes on
    with those that there is room for.
    """
    cuda = device.type == "cuda"
    room = torch.cuda.device_count() - (device.index or 0) if cuda else threads
    if plan is not None:
        return min(plan.workers, room)
    workers = 1 if wanted.workers is None else wanted.workers
    if workers > room:
        kind = "CUDA devices" if cuda else "cores"
        raise InvalidOption(
            f"'workers' is {workers}, but each needs one of the {kind} here, and of those this "
            f"training has {room}. Give at most {room}.",
            param="workers",
        )
    return workers


@contextmanager
def local_group(size: int, device: torch.device, folder: Path) -> Iterator[Group]:
    """This process and ``size - 1`` more, which end with it, whatever its end is.

    They meet in a file under ``folder`` and talk over the loopback interface alone. With CUDA each
    has a device of its own, from ``device`` on. WorkerLost where one dies.
    """
    if size == 1:
        yield ALONE
        return
    devices = _devices(size, device)
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="group-", dir=folder))
        meeting = (Path(place).resolve() / "meeting").as_uri()
        stack.enter_context(_only_loopback())
        followers = [
            stack.enter_context(_follower(rank, size, devices[rank], meeting))
            for rank in range(1, size)
        ]
        for follower in followers:
            _await_ready(follower)
        yield stack.enter_context(joined(LEADER, size, devices[LEADER], meeting))


def _devices(size: int, device: torch.device) -> Sequence[torch.device]:
    if device.type != "cuda":
        return [device] * size
    first = device.index or 0
    return [torch.device("cuda", first + rank) for rank in range(size)]


@contextmanager
def _follower(
    rank: int, size: int, device: torch.device, meeting: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that follows; leaving kills what still runs."""
    where = {"rank": rank, "size": size, "device": str(device), "meeting": meeting}
    paths = (str(Path(textgen.__file__).parents[1]), os.environ.get("PYTHONPATH"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with subprocess.Popen(
        [sys.executable, "-m", "textgen.training.follower"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # so that nothing is left to write when it is gone
        env=environment,
    ) as process:
        try:
            # One that is gone already says nothing, which `_await_ready` tells.
            with suppress(BrokenPipeError):
                if process.stdin is not None:
                    process.stdin.write(json.dumps(where).encode() + b"\n")
            yield process
        finally:
            process.kill()


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    """A process that cannot even start must not be waited for where all meet."""
    said = b"" if process.stdout is None else process.stdout.readline()
    if said.decode().strip() != READY:
        raise WorkerLost(
            f"A process that was to train with this one did not start (exit status "
            f"{process.wait()}); what it said stands in the log."
        )


@contextmanager
def _only_loopback() -> Iterator[None]:
    """Gloo listens where the host's name points to, unless it is told an interface."""
    before = os.environ.get(_INTERFACE)
    found = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    os.environ[_INTERFACE] = found[0]
    try:
        yield
    finally:
        del os.environ[_INTERFACE]
        if before is not None:
            os.environ[_INTERFACE] = before
