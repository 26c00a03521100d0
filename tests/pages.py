"""Code blocks of the documentation, run as they stand (but for the port and shorter trainings)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.stack import ROOT, Stack

_BLOCK = re.compile(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", re.S)
_SECONDS = re.compile(r'(max-seconds |max_seconds": )\d+')


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Kind and code of each block of a page that says that it can be run, in order."""
    return _BLOCK.findall((ROOT / page).read_text())


def like_a_clone(folder: Path, stack: Stack) -> Path:
    """Make ``folder`` look like a fresh clone in which `make serve` runs."""
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".textgen").symlink_to(stack.home)
    return folder


def run_block(stack: Stack, folder: Path, kind: str, code: str, *, seconds: int = 4) -> str:
    """Run a block with trainings of ``seconds``; what it prints. AssertionError where it fails."""
    code = code.replace("127.0.0.1:8000", f"127.0.0.1:{stack.port}")
    code = _SECONDS.sub(rf"\g<1>{seconds}", code)
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-euc", code]
    run = subprocess.run(
        command, cwd=folder, env={**os.environ, **stack.environment}, capture_output=True,
        text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
