"""The database is killed, cut off, locked, or loses a COMMIT's reply: rows 12 to 15."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.chaos.conftest import NewRig, Recorder
from tests.chaos.proxy import Proxy
from tests.chaos.rig import Rig
from tests.chaos.services import PostgresServer, RedisServer
from tests.chaos.test_kills import kill_everything, kill_training_worker
from worker.jobs.tables import jobs

pytestmark = pytest.mark.slow
FEW = 40


def post(rig: Rig, name: str) -> httpx.Response:
    """Try once to submit a batch under an Idempotency-Key."""
    body = {
        "input_file_id": rig.batch_file(FEW),
        "endpoint": "/v1/completions",
        "completion_window": "24h",
        "metadata": {"name": name},
    }
    headers = {"Authorization": f"Bearer {rig.stack.key}", "Idempotency-Key": name}
    return httpx.post(f"{rig.stack.base_url}/v1/batches", json=body, headers=headers, timeout=60)


def submit(rig: Rig, name: str) -> tuple[str, int]:
    """Until it is taken: the job's id, and how often the answer was a 503."""
    refused = 0
    deadline = time.monotonic() + 60
    while (answer := post(rig, name)).status_code != 200:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert time.monotonic() < deadline
        refused += 1
        time.sleep(0.1)
    job_id = str(answer.json()["id"])
    rig.ledger.note(job_id)
    return job_id, refused


def has_ended(process: psutil.Process) -> bool:
    """Also when its parent, which waits for the database, has not taken note of it."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def rig(new_rig: NewRig, shared_postgresql: PostgresServer) -> Iterator[Rig]:
    with new_rig("postgresql", shared_postgresql.url()) as made:
        yield made


def test_kills_on_postgresql(rig: Rig, record: Recorder) -> None:
    """Rows 1 and 2, once: `make chaos` has each kill of test_kills.py on PostgreSQL too."""
    record.begin(rig)
    job_id = rig.train()
    rig.until_checkpoint(job_id)
    moment = time.time()
    kill_training_worker(rig)
    rig.ledger.wait()
    again = rig.ledger.claims_after(job_id, moment)
    record.end(rig, "2", "kill -9 the training worker", seconds=again[0] - moment)

    rig.batch()
    rig.ledger.settle()
    job_id = rig.batch()
    rig.until_lines(job_id, 1)
    kill_everything(rig)
    record.end(rig, "1, 2, 4, 6", "kill -9 of everything during a batch, then a start")


def test_postgresql_killed_and_restarted(
    rig: Rig, shared_postgresql: PostgresServer, record: Recorder, repeat: int
) -> None:
    """Row 12: requests are 503 meanwhile; then everything goes on."""
    rig.batch(FEW)
    rig.ledger.settle()
    for _ in range(repeat):
        record.begin(rig)
        rig.train()
        rig.batch()
        time.sleep(rig.random.uniform(0, 4))
        shared_postgresql.kill()
        answer = post(rig, uuid4().hex)
        assert answer.status_code in (401, 503), answer.text
        time.sleep(rig.random.uniform(0, 1))
        shared_postgresql.start()
        back = time.time()
        submit(rig, uuid4().hex)
        seconds = time.time() - back
        rig.ledger.wait()
        record.end(rig, "12", "PostgreSQL killed and restarted", seconds=seconds)


def test_a_commit_whose_reply_is_lost(
    new_rig: NewRig, postgresql: PostgresServer, record: Recorder
) -> None:
    """Row 13: nobody knows whether it took place; with a key there is one job all the same."""
    with Proxy(postgresql.port) as proxy, new_rig(
        "reply", postgresql.url(proxy.port)
    ) as rig:  # fmt: skip
        rig.batch(FEW)
        rig.ledger.settle()
        rig.train()
        rig.batch()
        names = [uuid4().hex for _ in range(30)]
        refused = 0
        for name in names:
            proxy.swallow_next_reply(b"COMMIT")
            refused += submit(rig, name)[1]
        rig.ledger.wait()
        made = [rig.ledger.count(jobs.c.metadata["name"].as_string() == name) for name in names]
        assert made == [1] * len(names)
        assert proxy.lost_replies > len(names) / 2
        record.end(
            rig, "13", "the reply to a COMMIT is lost, 30 times", duplicates=sum(made) - len(names),
            lost_replies=proxy.lost_replies, refused=refused,
        )  # fmt: skip


def test_a_worker_cut_from_the_database(
    new_rig: NewRig, postgresql: PostgresServer, redis_server: RedisServer, record: Recorder
) -> None:
    """Row 14: it stops by itself before another one may have its job."""
    common = {"broker_url": redis_server.url(), "train_workers": 0}
    with Proxy(postgresql.port) as proxy, new_rig("cut", postgresql.url(), **common) as rig:
        direct = {"TEXTGEN_BROKER_URL": redis_server.url(), "TEXTGEN_TRAIN_WORKERS": "1"}
        cut_off = {**direct, "TEXTGEN_DATABASE_URL": postgresql.url(proxy.port)}
        with rig.worker("train", **cut_off) as first:
            job_id = rig.train()
            rig.until_checkpoint(job_id)
            (child,) = psutil.Process(first.pid).children()
            with rig.worker("train", **direct):
                moment = time.time()
                proxy.mode = "swallow"
                rig.until(lambda: rig.ledger.claims_after(job_id, moment))
                claimed = rig.ledger.claims_after(job_id, moment)[0]
                rig.until(lambda: has_ended(child))
                overlap = max(0.0, time.time() - claimed)
                rig.ledger.wait()
                proxy.mode = "pass"
                record.end(
                    rig, "14", "a worker cut from the database", seconds=claimed - moment,
                    overlap_seconds=overlap,
                )  # fmt: skip
                assert overlap < 5


def test_a_locked_sqlite(new_rig: NewRig, record: Recorder) -> None:
    """Row 15: somebody else writes for ten seconds."""
    with new_rig("locked") as rig:
        rig.batch(FEW)
        rig.ledger.settle()
        job_id = rig.batch()
        rig.train()
        other = sqlite3.connect(rig.home / "textgen.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        until = time.monotonic() + 10
        answer = post(rig, uuid4().hex)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        time.sleep(max(0.0, until - time.monotonic()))
        other.execute("ROLLBACK")
        back = time.time()
        submit(rig, uuid4().hex)
        seconds = time.time() - back
        rig.ledger.wait()
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        other.close()
        losses = rig.ledger.row(job_id).losses
        record.end(rig, "15", "SQLite locked for 10 s", seconds=seconds, losses=losses)
