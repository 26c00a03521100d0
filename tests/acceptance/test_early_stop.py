"""`textgen up` that is stopped before it is ready."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.stack import READY_SECONDS, STOP_SECONDS, Stack, kill_family


@pytest.mark.parametrize("begun", ["", "redis-server", "web.server"])
def test_it_ends_in_order_and_leaves_everything_as_it_was(tmp_path: Path, begun: str) -> None:
    """Redis' data stay in their place: it was asked to stop, and is not what failed."""
    stack = Stack(tmp_path / "home")
    with stack:
        pass
    data = sorted(path.name for path in (stack.home / "redis").glob("appendonly*"))
    process = stack.begin(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        end = time.monotonic() + READY_SECONDS
        while not (family := started(process, begun)):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()

        assert process.wait(STOP_SECONDS) == 0, said
        assert "is ready" not in said
        assert said.splitlines()[-1] == "Stopped."
        assert "Traceback" not in said and "Error" not in said, said
        assert sorted(path.name for path in (stack.home / "redis").glob("appendonly*")) == data
        assert not (stack.home / "redis" / "damaged").exists()
        assert not psutil.wait_procs(family, timeout=5)[1]
    finally:
        kill_family(process)
        process.stdout.close()


def started(process: subprocess.Popen[str], program: str) -> list[psutil.Process]:
    """The process and those that it has started, once the program is among these."""
    parent = psutil.Process(process.pid)
    children = parent.children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        if not program or any(program in " ".join(child.cmdline()) for child in children):
            return [parent, *children]
    return []
