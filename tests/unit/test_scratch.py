"""Folders for children: one at a time, kept while the job lives, gone afterwards."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from worker.children.scratch import Scratch, remove_stale
from worker.processes.identity import take_identity


def test_the_next_claim_finds_what_the_last_has_left(tmp_path: Path) -> None:
    first = Scratch(tmp_path, "job-1", 1)
    (first.folder / "train.bin").write_bytes(b"ids")
    first.close()

    with closing(Scratch(tmp_path, "job-1", 2)) as again:
        assert (again.folder / "train.bin").read_bytes() == b"ids"


def test_a_child_that_still_lives_keeps_its_folder(tmp_path: Path) -> None:
    first = Scratch(tmp_path, "job-1", 1)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[first.fileno()]
    )
    first.close()  # as when its parent is killed

    second = Scratch(tmp_path, "job-1", 2)
    child.communicate(b"\n")
    third = Scratch(tmp_path, "job-1", 3)
    second.close()
    third.close()

    assert second.folder != first.folder
    assert third.folder == first.folder


def test_what_nobody_needs_any_more_goes(tmp_path: Path) -> None:
    for job_id in ("ended", "live"):
        Scratch(tmp_path, job_id, 1).close()
    busy = Scratch(tmp_path, "ended-but-busy", 1)
    second = Scratch(tmp_path, "ended-but-busy", 2)
    second.close()

    assert remove_stale(tmp_path, lambda job_id: job_id == "live") == 2

    assert sorted(each.name for each in (tmp_path / "jobs").iterdir()) == ["ended-but-busy", "live"]
    busy.remove()
    busy.close()
    assert not busy.folder.exists()


def test_a_worker_is_known_by_its_folder(tmp_path: Path) -> None:
    """Two stacks of one machine that share a database must not free each other's jobs."""
    first = take_identity(tmp_path / "a", "train")
    beside = take_identity(tmp_path / "a", "train")
    elsewhere = take_identity(tmp_path / "b", "train")
    first.lock.close()
    again = take_identity(tmp_path / "a", "train")

    assert again.name == first.name
    assert again.incarnation != first.incarnation
    for each in (beside, elsewhere, again):
        each.lock.close()
    assert len({first.name, beside.name, elsewhere.name}) == 3
