"""The clock jumps, or the machine sleeps: rows 20 and 30 of the matrix."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.chaos.conftest import NewRig, Recorder
from tests.chaos.rig import Rig
from tests.chaos.services import RedisServer

pytestmark = pytest.mark.slow
LONG = 3000
HOUR = 3600
SLEEP_SECONDS = 8  # longer than a lease, and than the gap that the reconciler notices


def faketime() -> Path | None:
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for found in Path(folder).glob("**/libfaketimeMT.so.1"):
            return found
    return None


@pytest.mark.parametrize("hours", [1, -1])
def test_the_clock_jumps(
    new_rig: NewRig, redis_server: RedisServer, tmp_path: Path, record: Recorder, hours: int
) -> None:
    """Row 20, on SQLite, where the clock is each process's: nobody loses a lease by it.

    The clock is that of the reconciler and the training worker alone: libfaketime makes the sleep
    of gunicorn fail when it goes back, which no clock does.
    """
    library = faketime()
    if library is None:
        pytest.skip("no libfaketime on this machine: no clock that could be set for a process")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TEXTGEN_BROKER_URL": redis_server.url(),
        "TEXTGEN_TRAIN_WORKERS": "1",
    }
    with (
        new_rig("clock", broker_url=redis_server.url(), train_workers=0) as rig,
        rig.standing_still(rig.main_process("web.cli", "worker", "reconcile")),
        rig.worker("reconcile", **environment),
        rig.worker("train", **environment),
    ):
        job_id = rig.train(max_steps=LONG)
        rig.until_checkpoint(job_id)
        clock.write_text(f"{hours * HOUR:+d}")
        rig.ledger.wait()
        losses = rig.ledger.row(job_id).token - 1
        assert losses == 0
        assert "the clock moved by" in rig.stack.log_text()
        record.end(rig, "20", f"the clock jumps {hours:+d} h", false_expiries=losses)


def test_the_machine_sleeps(new_rig: NewRig, record: Recorder) -> None:
    """Row 30: every process stands still, three times; it costs no poison count."""
    with new_rig("sleep") as rig:
        job_id = rig.train(max_steps=LONG)
        rig.until_checkpoint(job_id)
        for _ in range(3):
            _suspend(rig)
            time.sleep(2)
        losses = rig.ledger.row(job_id).losses
        rig.ledger.wait()
        claims = rig.ledger.row(job_id).token
        assert losses == 0
        fault = f"the whole stack stands still for {SLEEP_SECONDS} s, three times"
        record.end(rig, "30", fault, poison_counts=losses, claims=claims)


def _suspend(rig: Rig) -> None:
    assert rig.stack.process is not None
    supervisor = psutil.Process(rig.stack.process.pid)
    family = [supervisor, *supervisor.children(recursive=True)]
    for member in family:
        member.send_signal(signal.SIGSTOP)
    time.sleep(SLEEP_SECONDS)
    for member in family:
        member.send_signal(signal.SIGCONT)
