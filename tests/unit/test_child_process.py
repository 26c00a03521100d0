"""What a worker hears of its child, whatever the child writes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from worker.children.process import ChildProcess, Order

CHILD = """
import os, sys
sys.stdin.readline()
for line in (b'{"kind": "event"}\\n', b"Segmentation fault\\n", b"5\\n", b"\\xff\\n",
             b'{"kind": "event", "again": true}\\n', b'{"kind": "ev'):
    os.write(1, line)
"""


def test_what_is_no_message_is_passed_over_and_the_end_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "odd_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ChildProcess(Order(folder=tmp_path, threads=1), "odd_child") as child:
        heard = [child.receive(30) for _ in range(3)]
    assert heard == [{"kind": "event"}, {"kind": "event", "again": True}, None]
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(said) == 4 and all("no message" in each for each in said)
