"""The README's code blocks, run as they stand (but for the port and shorter trainings)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import ROOT, Stack

BLOCKS = re.findall(
    r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", (ROOT / "README.md").read_text(), re.S
)


@pytest.fixture(scope="module")
def folder(stack: Stack, verses: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a fresh clone in which `make serve` runs."""
    place = tmp_path_factory.mktemp("clone")
    (place / ".venv").symlink_to(sys.prefix)
    (place / ".textgen").symlink_to(stack.home)
    (place / "corpus.txt").write_bytes(verses.read_bytes())
    return place


def test_the_readme_has_all_three_ways() -> None:
    assert [kind for kind, _ in BLOCKS] == ["shell", "python", "shell"]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(stack: Stack, folder: Path, number: int) -> None:
    kind, code = BLOCKS[number]
    code = code.replace("127.0.0.1:8000", f"127.0.0.1:{stack.port}")
    code = code.replace("max-seconds 20", "max-seconds 4").replace('seconds": 20', 'seconds": 4')
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-euc", code]

    run = subprocess.run(
        command, cwd=folder, env={**os.environ, **stack.environment}, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout + run.stderr
    if number == 0:
        assert len((folder / "texts.jsonl").read_text().splitlines()) == 2
    if number == 2:
        assert '"status":"completed"' in run.stdout.replace(" ", "")
