"""`textgen up` that is stopped before it is ready."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.stack import ROOT, STOP_SECONDS, Stack, kill_family


@pytest.mark.parametrize("sign", ["Starting textgen", "redis", "web"])
def test_it_ends_in_order_and_leaves_everything_as_it_was(tmp_path: Path, sign: str) -> None:
    """Redis' data stay in their place: it was asked to stop, and is not what failed."""
    stack = Stack(tmp_path / "home")
    with stack:
        pass
    data = sorted(path.name for path in (stack.home / "redis").glob("appendonly*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "web.cli", "up"],
        cwd=ROOT,
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith(sign):
                break
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()

        assert process.wait(STOP_SECONDS) == 0, said
        assert said.splitlines()[-1] == "Stopped."
        assert "Traceback" not in said and "Error" not in said, said
        assert sorted(path.name for path in (stack.home / "redis").glob("appendonly*")) == data
        assert not (stack.home / "redis" / "damaged").exists()
        assert not psutil.wait_procs(family, timeout=5)[1]
    finally:
        kill_family(process)
        process.stdout.close()
