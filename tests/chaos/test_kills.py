"""kill -9 at a random moment of the work: rows 1, 2, 4 and 6 of the matrix, and their kin.

Each accepted job must end once, with the result of a run that nothing disturbed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.chaos.conftest import NewRig, Recorder
from tests.chaos.going_on import stand_still, until_it_goes_on
from tests.chaos.rig import Rig
from tests.chaos.services import PostgresServer
from worker.jobs.tables import jobs

Kill = Callable[[Rig], None]
Killed = Callable[[Rig], list[psutil.Process]]

LINES = 2000  # so many that a batch is still under way when it is hurt
# `make chaos` kills on both databases, `make test-all` on PostgreSQL what is in test_database.py.
ON_POSTGRESQL = pytest.mark.chaos


def kill_child(rig: Rig) -> None:
    for child in rig.stack.processes("worker.training.child"):
        child.kill()


def kill_training_worker(rig: Rig) -> None:
    """Its child must die of the closed pipe."""
    children = rig.stack.processes("worker.training.child")
    rig.main_process("web.cli", "worker", "train").kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def kill_engine(rig: Rig) -> None:
    for process in engine(rig):
        process.kill()


def kill_generation_worker(rig: Rig) -> None:
    for process in generation_worker(rig):
        process.kill()


def kill_redis(rig: Rig) -> None:
    for redis in rig.stack.processes("redis-server"):
        redis.kill()


def kill_everything(rig: Rig) -> None:
    rig.stack.kill()
    rig.stack.start()


def kill_web(rig: Rig) -> None:
    for process in rig.stack.processes("web.server"):
        process.kill()


def engine(rig: Rig) -> list[psutil.Process]:
    return rig.stack.processes("worker.generation.engine_process")


def generation_worker(rig: Rig) -> list[psutil.Process]:
    return rig.stack.processes("web.cli", "worker", "generate")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=ON_POSTGRESQL)])
def rig(request: pytest.FixtureRequest, new_rig: NewRig) -> Iterator[Rig]:
    url = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("shared_postgresql")
        url = server.url()
    with new_rig("kills", url) as made:
        yield made


@pytest.mark.parametrize(
    ("row", "fault", "kill"),
    [
        ("1", "kill -9 the training child", kill_child),
        ("2", "kill -9 the training worker", kill_training_worker),
        pytest.param("6", "kill -9 Redis during a training", kill_redis, marks=pytest.mark.slow),
        ("1, 2, 4, 6", "kill -9 of everything at once, then a start", kill_everything),
    ],
    ids=["child", "worker", "redis", "everything"],
)
def test_a_killed_training_ends_with_the_same_weights(
    rig: Rig, record: Recorder, repeat: int, row: str, fault: str, kill: Kill
) -> None:
    for _ in range(repeat):
        record.begin(rig)
        job_id = rig.train()
        rig.until_child()
        if repeat == 1:
            rig.until_checkpoint(job_id)  # the short pass goes to where it matters most
        else:
            time.sleep(rig.random.uniform(0, 6))
        reached = rig.step_of(job_id)
        moment = time.time()
        kill(rig)
        rig.ledger.wait()
        again = rig.ledger.claims_after(job_id, moment)
        redone = rig.ledger.steps_since_checkpoint(job_id, reached, again[0]) if again else None
        seconds = again[0] - moment if again else None
        record.end(rig, row, fault, seconds=seconds, steps_redone=redone)


@pytest.mark.parametrize(
    ("row", "fault", "kill", "stopped"),
    [
        ("2", "kill -9 the generation engine", kill_engine, engine),
        (
            "2",
            "kill -9 the generation worker and its engine",
            kill_generation_worker,
            generation_worker,
        ),
        ("6", "kill -9 Redis during a batch", kill_redis, None),  # which does not stop the batch
        pytest.param(
            "1, 2, 4, 6",
            "kill -9 of everything during a batch, then a start",
            kill_everything,
            generation_worker,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["engine", "worker", "redis", "everything"],
)
def test_a_killed_batch_ends_with_the_same_lines(
    rig: Rig,
    record: Recorder,
    repeat: int,
    row: str,
    fault: str,
    kill: Kill,
    stopped: Killed | None,
) -> None:
    for _ in range(repeat):
        record.begin(rig)
        job_id = rig.batch(LINES)
        rig.until_lines(job_id, rig.random.randrange(1, LINES * 2 // 5))
        if stopped is None:
            kill(rig)
            record.end(rig, row, fault)
            continue
        # What is killed stands still first, so that no line of before is taken for one of after.
        before = stand_still(rig, job_id, stopped(rig), told=stopped is engine)
        moment = time.time()
        kill(rig)
        until_it_goes_on(rig, job_id, before)
        seconds = None if before.ended else time.time() - moment
        record.end(rig, row, fault, seconds=seconds)


@pytest.mark.parametrize(
    "keyed",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["idempotency-key", "no-key"],
)
def test_a_killed_web_process_loses_no_job(
    rig: Rig, record: Recorder, repeat: int, keyed: bool
) -> None:
    """Row 4. Clients send again until they are answered; with a key that makes one job each."""
    rig.batch(1)
    rig.ledger.settle()
    input_file = rig.batch_file(1)
    fault = f"kill -9 the web process around COMMIT, {'with' if keyed else 'no'} Idempotency-Key"
    for _ in range(repeat):
        record.begin(rig)
        names = [uuid4().hex for _ in range(12)]
        moment = time.time()
        wait = rig.random.uniform(0, 0.15)
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(_send, rig, input_file, name, keyed) for name in names]
            time.sleep(wait)
            kill_web(rig)
            for answer in answers:
                rig.ledger.note(answer.result())
        rig.until(rig.healthy)
        seconds = time.time() - moment - wait
        made = [rig.ledger.count(jobs.c.metadata["name"].as_string() == name) for name in names]
        if keyed:
            assert made == [1] * len(names)
        record.end(rig, "4", fault, seconds=seconds, duplicates=sum(made) - len(names))


def _send(rig: Rig, input_file: str, name: str, keyed: bool) -> str:
    """Until it is taken; the id of the job."""
    body = {
        "input_file_id": input_file,
        "endpoint": "/v1/completions",
        "completion_window": "24h",
        "metadata": {"name": name},
    }
    headers = {"Authorization": f"Bearer {rig.stack.key}"}
    if keyed:
        headers["Idempotency-Key"] = name
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(httpx.HTTPError):
            url = f"{rig.stack.base_url}/v1/batches"
            answer = httpx.post(url, json=body, headers=headers, timeout=20)
            if answer.status_code == 200:
                return str(answer.json()["id"])
            assert answer.status_code in (409, 503), answer.text
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_drained_stack_loses_nothing(rig: Rig, record: Recorder, repeat: int) -> None:
    """Row 23: SIGTERM to everything, then a new start."""
    for _ in range(repeat):
        record.begin(rig)
        job_id = rig.train()
        rig.until_checkpoint(job_id)
        reached = rig.step_of(job_id)
        moment = time.time()
        assert rig.stack.stop() == 0
        drained = time.time() - moment
        assert drained < 90
        assert rig.ledger.row(job_id).state in ("queued", "succeeded")
        lost = rig.ledger.steps_since_checkpoint(job_id, reached, time.time())
        rig.stack.start()
        fault = "SIGTERM to everything (a deploy), then a start"
        record.end(rig, "23", fault, seconds=drained, steps_lost=lost)
        assert rig.ledger.row(job_id).losses == 0
