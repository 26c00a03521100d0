"""Workers stopped, hung, out of memory or told to end: rows 3, 21, 22, 23, 25 and 29."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from uuid import uuid4

import openai
import psutil
import pytest

from tests.chaos.conftest import NewRig, Recorder
from tests.chaos.rig import Rig
from tests.chaos.services import RedisServer

pytestmark = pytest.mark.slow
FEW = 40
LONG = 1500
HANG_SECONDS = 10  # longer than a child takes to begin on a busy machine


@pytest.fixture(scope="module")
def rig(new_rig: NewRig, shared_redis: RedisServer) -> Iterator[Rig]:
    with new_rig("workers", broker_url=shared_redis.url()) as made:
        yield made


def test_a_stopped_worker_comes_back_as_a_zombie(
    rig: Rig, shared_redis: RedisServer, record: Recorder
) -> None:
    """Row 3: another one has its job; what the zombie writes touches no row and no file."""
    job_id = rig.train(max_steps=LONG)
    rig.until_checkpoint(job_id)
    zombie = rig.main_process("web.cli", "worker", "train")
    with rig.worker("train", TEXTGEN_BROKER_URL=shared_redis.url()):
        with rig.standing_still(zombie):
            moment = time.time()
            rig.until(lambda: rig.ledger.claims_after(job_id, moment))
            seconds = rig.ledger.claims_after(job_id, moment)[0] - moment
            time.sleep(rig.random.uniform(0, 2))
        rig.until(lambda: rig.stack.log_text().count(f"{job_id}: let go"), 30)
        rig.ledger.wait()
        fenced = rig.stack.log_text().count(f"{job_id}: let go")  # after a write of no row
        fault = "SIGSTOP of the worker beyond its lease, then CONT"
        record.end(rig, "3", fault, seconds=seconds, fenced_writes=fenced)


def test_a_killer_of_memory_is_poison(rig: Rig, record: Recorder, repeat: int) -> None:
    """Row 21: killed as the kernel does it, before any checkpoint, three times; then it ends."""
    rig.batch(FEW)
    rig.ledger.settle()
    for _ in range(repeat):
        record.begin(rig)
        job_id = rig.train(ends=("failed",))
        neighbour = rig.batch(FEW)
        for claim in range(1, 4):
            rig.until(lambda claim=claim: rig.ledger.row(job_id).token >= claim)  # noqa: B023
            rig.until_child()
            for child in rig.stack.processes("worker.training.child"):
                child.kill()
                psutil.wait_procs([child], timeout=10)
        rig.ledger.wait()
        assert rig.ledger.row(job_id).error["code"] == "poison"
        assert rig.ledger.row(neighbour).losses == 0
        ended = rig.ledger.row(neighbour)
        took = ended.finished_at - ended.created_at
        fault = "the training is killed for its memory, three times"
        record.end(rig, "21", fault, outcome="poison", neighbours_seconds=took)


def test_a_hung_training(new_rig: NewRig, record: Recorder) -> None:
    """Row 22: it is noticed, killed, and goes on from its checkpoint."""
    with new_rig("hung", hang_seconds=HANG_SECONDS) as rig:
        job_id = rig.train(max_steps=LONG)
        rig.until_checkpoint(job_id)
        (child,) = rig.stack.processes("worker.training.child")
        child.send_signal(signal.SIGSTOP)
        moment = time.time()
        rig.ledger.wait()
        hung = [
            event.created_at
            for event in rig.ledger.events(job_id)
            if event.type == "hung" and event.created_at > moment
        ]
        assert "memory runs out" not in str(rig.ledger.events(job_id))
        fault = f"a training that makes no progress (limit {HANG_SECONDS} s)"
        record.end(rig, "22", fault, seconds=hung[0] - moment)


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,)])
def test_told_to_end(rig: Rig, record: Recorder, signals: tuple[signal.Signals, ...]) -> None:
    """Row 23: twice, and in anger."""
    job_id = rig.train(max_steps=LONG)
    rig.until_checkpoint(job_id)
    moment = time.time()
    assert rig.stack.process is not None
    for number in signals:
        rig.stack.process.send_signal(number)
        time.sleep(0.1)
    rig.stack.process.wait(90)
    seconds = time.time() - moment
    rig.stack.start()
    names = " and ".join(number.name for number in signals)
    record.end(rig, "23", f"{names} to the whole stack, then a start", seconds=seconds)


def test_cancelled_at_any_moment(rig: Rig, record: Recorder, repeat: int) -> None:
    """Row 25: one end, whichever COMMIT comes first."""
    rig.batch(FEW)
    rig.ledger.settle()
    for number in range(max(6, repeat)):
        record.begin(rig)
        ends = ("cancelled", "succeeded")
        training = number % 2 == 0
        job_id = rig.train(ends=ends) if training else rig.batch(ends=ends)
        time.sleep(rig.random.uniform(0, 8 if training else 4))
        asked = time.time()
        cancel = rig.client.fine_tuning.jobs.cancel if training else rig.client.batches.cancel
        try:
            cancel(job_id)
        except openai.ConflictError:
            pass  # it has ended already
        except openai.BadRequestError as error:
            assert error.code == "job_already_finished", error
        rig.ledger.wait()
        ended = rig.ledger.row(job_id).finished_at
        seconds = max(0.0, ended - asked)
        record.end(rig, "25", "cancelled at a random moment", seconds=seconds)


def test_two_reconcilers_and_none(rig: Rig, shared_redis: RedisServer, record: Recorder) -> None:
    """Row 29."""
    rig.batch(FEW)
    rig.ledger.settle()
    with rig.worker("reconcile", TEXTGEN_BROKER_URL=shared_redis.url()):
        job_id = rig.train()
        rig.until_child()
        for child in rig.stack.processes("worker.training.child"):
            child.kill()
        rig.batch()
        rig.ledger.wait()
        assert rig.ledger.row(job_id).token == 2
        record.end(rig, "29", "two reconcilers")
    reconciler = rig.main_process("web.cli", "worker", "reconcile")
    with rig.standing_still(reconciler):
        moment = time.time()
        jobs = [rig.batch(FEW, metadata={"name": uuid4().hex}) for _ in range(3)]
        time.sleep(3)  # a twentieth of a minute
    rig.ledger.wait()
    seconds = max(rig.ledger.claims_after(job_id, moment)[0] for job_id in jobs) - moment
    record.end(rig, "29", "no reconciler for 3 s", seconds=seconds)
