"""The disk is full, does not sync, or gives back other bytes: rows 16 to 19 of the matrix."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.conftest import NewRig, Recorder
from tests.chaos.rig import Rig
from worker.training.run import CHECKPOINT_FILE

pytestmark = pytest.mark.slow
LONG = 1500  # steps, so that there are several checkpoints
TMPFS_MEBIBYTES = 32


@pytest.fixture(scope="module")
def rig(new_rig: NewRig) -> Iterator[Rig]:
    with new_rig("storage") as made:
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={TMPFS_MEBIBYTES}m"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("no small disk: mounting a tmpfs needs the rights of root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def types(rig: Rig, job_id: str) -> list[str]:
    return [event.type for event in rig.ledger.events(job_id)]


def test_a_full_disk(new_rig: NewRig, small_disk: Path, record: Recorder) -> None:
    """Row 16: the checkpoint before stays good, and with room again the job ends as it should."""
    storage = {"storage_url": small_disk, "disk_floor_bytes": 0}
    with new_rig("full", **storage) as rig:
        job_id = rig.train(max_steps=LONG)
        rig.until_checkpoint(job_id)
        ballast = small_disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"\0" * 4096)
                file.flush()
        rig.until(lambda: "checkpoint_failed" in types(rig, job_id))
        artifact = rig.ledger.row(job_id).checkpoint["artifact"]
        rig.store.verify(artifact)
        ballast.unlink(missing_ok=True)
        rig.ledger.wait()
        failed = types(rig, job_id).count("checkpoint_failed")
        record.end(rig, "16", "disk full (tmpfs) during checkpoints", failed_checkpoints=failed)


def test_fsync_fails(rig: Rig, record: Recorder) -> None:
    """Row 17: what is not safe on the disk is not published."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace on this machine: nothing to make fsync fail with")
    job_id = rig.train(max_steps=LONG)
    rig.until_checkpoint(job_id)
    trainer = rig.main_process("web.cli", "worker", "train")
    faults = "inject=fsync:error=EIO"
    tracer = subprocess.Popen(
        [strace, "-f", "-qq", "-e", "trace=fsync", "-e", faults, "-p", str(trainer.pid)],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.5)
    if tracer.poll() is not None:
        pytest.skip("strace may not trace here")
    before = rig.ledger.row(job_id).checkpoint
    rig.until(
        lambda: "checkpoint_failed" in types(rig, job_id) or rig.ledger.row(job_id).finished_at
    )
    failed = types(rig, job_id).count("checkpoint_failed")
    published = rig.ledger.row(job_id).checkpoint
    tracer.terminate()
    tracer.wait()
    assert failed
    assert published == before
    record.end(rig, "17", "fsync fails in the training worker", failed_checkpoints=failed)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def tear(path: Path) -> None:
    """The last pages never reached the disk."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 4096)
        file.write(bytes(4096))


def paused(rig: Rig) -> str:
    """A training with several checkpoints that waits to be resumed."""
    job_id = rig.train(max_steps=LONG)
    rig.until(lambda: len(rig.ledger.row(job_id).checkpoint_history) >= 2)
    with rig.stack.http() as http:
        assert http.post(f"/v1/fine_tuning/jobs/{job_id}/pause").status_code == 200
    rig.until(lambda: rig.ledger.row(job_id).state == "paused")
    return job_id


def resume(rig: Rig, job_id: str) -> None:
    with rig.stack.http() as http:
        assert http.post(f"/v1/fine_tuning/jobs/{job_id}/resume").status_code == 200
    rig.ledger.wait()


def checkpoint_files(rig: Rig, job_id: str) -> list[Path]:
    history = rig.ledger.row(job_id).checkpoint_history
    root = rig.home / "artifacts"
    return [root / pointer["artifact"] / CHECKPOINT_FILE for pointer in history]


@pytest.mark.parametrize("damage", [flip, truncate, tear, Path.unlink])
def test_a_damaged_checkpoint(rig: Rig, record: Recorder, damage: Callable[[Path], None]) -> None:
    """Row 18: the one before is used."""
    job_id = paused(rig)
    damage(checkpoint_files(rig, job_id)[0])
    resume(rig, job_id)
    passed_over = types(rig, job_id).count("checkpoint_damaged")
    assert passed_over == 1
    fault = f"the newest checkpoint damaged ({damage.__name__})"
    record.end(rig, "18", fault, passed_over=passed_over)


def test_no_checkpoint_is_good(rig: Rig, record: Recorder) -> None:
    """Row 19: from the start again, by the same plan."""
    job_id = paused(rig)
    files = checkpoint_files(rig, job_id)
    for path in files:
        flip(path)
    resume(rig, job_id)
    passed_over = types(rig, job_id).count("checkpoint_damaged")
    assert passed_over == len(files)
    record.end(rig, "19", "every checkpoint damaged", passed_over=passed_over)
