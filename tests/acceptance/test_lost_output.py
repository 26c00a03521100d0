"""`textgen up` whose output goes nowhere: the terminal was closed, `| tee` died first."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.stack import READY_SECONDS, STOP_SECONDS, Stack, kill_family


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_it_runs_on_and_drains(tmp_path: Path, log_format: str) -> None:
    stack = Stack(tmp_path / "home", TEXTGEN_LOG_FORMAT=log_format)
    process = stack.begin(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    try:
        process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + READY_SECONDS
        while not ready(stack):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)

        process.send_signal(signal.SIGTERM)

        assert process.wait(STOP_SECONDS) == 0
        assert process.stderr.read() == b""
    finally:
        kill_family(process)
        process.stderr.close()


def ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.base_url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
