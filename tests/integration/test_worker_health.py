"""Figures on their way from a worker to a web process, through a real Redis."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import redis

from tests.integration.conftest import run
from worker.backend import Backend
from worker.errors import BrokerUnavailable
from worker.metrics.exposition import to_text
from worker.metrics.published import PublishedMetrics
from worker.metrics.publisher import publishing
from worker.metrics.worker_metrics import WorkerMetrics, waiting_in
from worker.processes.health import WorkersHealth
from worker.processes.identity import Identity
from worker.processes.presence import announce
from worker.stack.embedded_redis import HOST, prepare_redis

LIFE = "host-train-1.now"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    server = prepare_redis(tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(server.command)
    while not server.answers():
        time.sleep(0.02)
    with redis.Redis(
        HOST, server.port, password=server.password, decode_responses=True
    ) as connection:
        yield connection
    process.terminate()
    process.wait(10)


@pytest.fixture
def nobody_there() -> redis.Redis:
    """A Redis that is away."""
    return redis.Redis(HOST, 1, decode_responses=True, socket_connect_timeout=0.2)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_is_healthy_while_it_consumes(
    backend: Backend, server: redis.Redis, nobody_there: redis.Redis
) -> None:
    fast = replace(backend, settings=backend.settings.model_copy(update={"heartbeat_seconds": 0.1}))
    metrics = WorkerMetrics(1, lambda: waiting_in(server, ["training"]), patience=0.3)
    health = WorkersHealth(backend.database, backend.settings, PublishedMetrics(server, 3))
    blind = WorkersHealth(backend.database, backend.settings, PublishedMetrics(nobody_there, 3))

    def status() -> list[str]:
        return [each.status for each in health.look()]

    with (
        announce(fast, Identity("host-train-1", "now", io.BytesIO()), "train", {"training": 1}),
        publishing(server, LIFE, lambda: to_text([metrics.registry]), metrics.look, seconds=0.05),
    ):
        wait_for(lambda: status() == ["ok"])
        server.lpush("training", "a wake-up that nobody takes")
        wait_for(lambda: status() == ["not_consuming"])
        assert [each.status for each in blind.look()] == ["unknown"]
        server.delete("training")
        wait_for(lambda: status() == ["ok"])
        (worker,) = health.look()
        assert dict(worker.slots) == {"training": 1}
        labels = {str(sample.labels) for each in worker.metrics for sample in each.samples}
        assert labels == {"{'worker': 'host-train-1'}"}


def test_a_redis_that_is_away_is_not_asked_again_at_once(nobody_there: redis.Redis) -> None:
    published = PublishedMetrics(nobody_there, retry_seconds=60)
    with pytest.raises(BrokerUnavailable, match="does not answer"):
        published.texts([LIFE])

    with pytest.raises(BrokerUnavailable, match="a moment ago"):
        published.waiting(["training"])


def test_only_what_was_committed_is_counted(backend: Backend) -> None:
    jobs = backend.jobs
    with pytest.raises(RuntimeError, match="on purpose"), backend.database.write() as connection:
        jobs.submit("default", "training", {}, connection=connection)
        raise RuntimeError("on purpose")
    submitted = [jobs.submit("default", "training", {}) for _ in range(2)]
    lost = run(jobs)
    jobs.requeue(lost, "gone", counts_as="loss")
    jobs.fail(run(jobs), {"code": "poison", "message": "x", "param": None})
    jobs.request_cancel("default", submitted[1].id)

    text = to_text([jobs.metrics.registry])

    for line in (
        'textgen_jobs_submitted_total{kind="training"} 2.0',
        'textgen_jobs_requeued_total{kind="training",reason="lost_worker"} 1.0',
        'textgen_jobs_ended_total{code="poison",kind="training",outcome="failed"} 1.0',
        'textgen_jobs_ended_total{code="none",kind="training",outcome="cancelled"} 1.0',
    ):
        assert line in text, text
