"""Redis is emptied, away, full, silent or slow: rows 5, 7, 8, 9, 10, 11 and 24 of the matrix.

SQL is the only truth, so all of it may cost time and nothing else.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
import redis

from tests.chaos.conftest import NewRig, Recorder
from tests.chaos.proxy import Proxy
from tests.chaos.rig import Rig
from tests.chaos.services import RedisServer
from worker.celery_app import make_publisher
from worker.client import Wakeups, connect
from worker.settings import Settings

pytestmark = pytest.mark.slow
FEW = 40  # lines of a batch that is over at once
AWAY_SECONDS = 15  # a twentieth of five minutes
ACCEPT_SECONDS = 5.0  # one try of half a second to send a wake-up, and room for a busy machine


@pytest.fixture(scope="module")
def rig(new_rig: NewRig, shared_redis: RedisServer) -> Iterator[Rig]:
    """One for all: whatever was done to its Redis, it is whole again after."""
    with new_rig("broker", broker_url=shared_redis.url()) as made:
        made.batch(FEW)
        made.ledger.settle()
        yield made


def submit_timed(rig: Rig, count: int) -> list[float]:
    """Seconds until each of some batches was accepted."""
    taken = []
    for _ in range(count):
        began = time.monotonic()
        rig.batch(FEW)
        taken.append(time.monotonic() - began)
    return sorted(taken)


def test_a_worker_that_dies_with_a_message(
    rig: Rig, shared_redis: RedisServer, record: Recorder, repeat: int
) -> None:
    """Row 5: right after BRPOP. The message is nowhere any more, the row is."""
    for _ in range(repeat):
        record.begin(rig)
        worker = rig.main_process("web.cli", "worker", "generate")
        with rig.standing_still(worker):
            job_id = rig.batch(FEW)
            with shared_redis.client() as client:
                client.delete("batch")  # not handed over where the worker was between two BRPOPs
            moment = time.time()
            worker.kill()
        rig.until(lambda: rig.ledger.claims_after(job_id, moment))  # noqa: B023
        seconds = rig.ledger.claims_after(job_id, moment)[0] - moment
        rig.ledger.wait()
        record.end(rig, "5", "the worker dies right after BRPOP", seconds=seconds)


def test_an_emptied_redis(rig: Rig, shared_redis: RedisServer, record: Recorder) -> None:
    """Row 7: FLUSHALL in mid-work, again and again."""
    moment = time.time()
    rig.train()
    for _ in range(3):
        rig.batch()
        rig.batch(FEW)
    with shared_redis.client() as client:
        for _ in range(5):
            client.flushall()
            time.sleep(0.3)
        client.flushall()
    for _ in range(2):
        rig.batch(FEW)
    rig.ledger.wait()
    record.end(rig, "7", "FLUSHALL six times in mid-work", seconds=time.time() - moment)


def test_an_absent_redis(rig: Rig, shared_redis: RedisServer, record: Recorder) -> None:
    """Row 8: away for a twentieth of five minutes."""
    rig.train()
    shared_redis.kill()
    away = time.monotonic()
    taken = submit_timed(rig, 10)
    time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - away)))
    shared_redis.start()
    back = time.time()
    rig.ledger.wait()
    assert taken[-1] < ACCEPT_SECONDS
    seconds = time.time() - back
    record.end(rig, "8", f"Redis away for {AWAY_SECONDS} s", seconds=seconds, slowest=taken[-1])


def test_a_full_redis(rig: Rig, shared_redis: RedisServer, record: Recorder) -> None:
    """Row 9: every write to Redis is refused (noeviction)."""
    rig.train()
    with shared_redis.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("x", "y")
        taken = submit_timed(rig, 10)
        client.config_set("maxmemory", 0)
    back = time.time()
    rig.ledger.wait()
    assert taken[-1] < ACCEPT_SECONDS
    seconds = time.time() - back
    record.end(rig, "9", "Redis full (noeviction)", seconds=seconds, slowest=taken[-1])


def test_a_half_open_connection(
    new_rig: NewRig, redis_server: RedisServer, record: Recorder
) -> None:
    """Row 10: bytes vanish without an error; then the network is whole again."""
    with Proxy(redis_server.port) as proxy, new_rig(
        "half-open", broker_url=redis_server.url(proxy.port)
    ) as rig:  # fmt: skip
        rig.batch(FEW)
        rig.ledger.settle()
        proxy.mode = "swallow"
        taken = submit_timed(rig, 3)
        time.sleep(40)  # longer than a consumer waits for an answer
        proxy.mode = "pass"
        back = time.time()
        rig.ledger.wait()
        seconds = time.time() - back
        assert seconds < 60
        record.end(rig, "10", "half-open connections to Redis", seconds=seconds, slowest=taken[-1])


def test_a_slow_link(new_rig: NewRig, redis_server: RedisServer, record: Recorder) -> None:
    """Row 11: half a second each way, and one packet in a hundred later still."""
    with Proxy(redis_server.port) as proxy, new_rig(
        "slow", broker_url=redis_server.url(proxy.port)
    ) as rig:  # fmt: skip
        rig.batch(FEW)
        rig.ledger.settle()
        proxy.delay_seconds, proxy.loss = 0.5, 0.01
        moment = time.time()
        jobs = [rig.train(), *(rig.batch(FEW) for _ in range(3))]
        rig.ledger.wait()
        losses = sum(rig.ledger.row(job_id).losses for job_id in jobs)
        assert losses == 0
        seconds = time.time() - moment
        record.end(rig, "11", "slow link to Redis", seconds=seconds, false_losses=losses)


def test_the_same_message_ten_times(rig: Rig, shared_redis: RedisServer, record: Recorder) -> None:
    """Row 24: one run."""
    settings = Settings(broker_url=shared_redis.url())
    connection = connect(settings)
    wakeups = Wakeups(make_publisher(settings), connection, 0.0)
    job_id = rig.batch()
    for _ in range(10):
        assert wakeups.publish("batch")
    rig.ledger.wait()
    with contextlib.closing(connection):
        claims = rig.ledger.row(job_id).token
        assert claims == 1
        record.end(rig, "24", "the same message ten times", claims=claims)
