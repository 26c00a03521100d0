"""A service to be checked, on each database and a Redis of its own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.integration.checks.unsound import (
    BUNDLE,
    OWNER,
    file,
    model,
)
from tests.integration.conftest import run, store
from worker.backend import Backend
from worker.jobs.rows import Job
from worker.operations.check import ServiceCheck
from worker.operations.checks.stuck_jobs import StuckJobs
from worker.stack.embedded_redis import HOST, prepare_redis
from worker.storage.models import NewModel
from worker.storage.text_states import TextStates
from worker.storage.uploads import Uploads


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    server = prepare_redis(tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not server.answers():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)
    yield {"host": HOST, "port": server.port, "password": server.password}
    process.kill()
    process.wait()


@pytest.fixture
def broker(redis_server: dict[str, Any]) -> redis.Redis:
    connection = redis.Redis(**redis_server, decode_responses=True)
    connection.flushall()
    return connection


@pytest.fixture
def service(backend: Backend, broker: redis.Redis) -> ServiceCheck:
    """Whatever is there is old enough, and nobody is waited for."""
    stuck = StuckJobs(backend, wait=lambda _: None)
    return ServiceCheck(backend, broker, min_age=0, stuck=stuck)


@pytest.fixture
def sound(backend: Backend, broker: redis.Redis) -> Job:
    """A service in which nothing is wrong, with some of everything; its running training."""
    file(backend, "file-1")
    model(backend, "ft-1")
    backend.models.set_alias(OWNER, "bot", "ft-1")
    backend.jobs.submit(OWNER, "training", {}, uses_files=["file-1"])
    job = run(backend.jobs)
    artifact = store(backend, f"jobs/{job.id}/1/step-10")
    published = NewModel("ckpt", OWNER, artifact, "content")
    backend.jobs.save_checkpoint(
        job, artifact=artifact, step=10, metrics={}, publish_model=published
    )
    store(backend, f"jobs/{job.id}/1/step-20")  # its row is about to come
    known = Uploads(backend.database, backend.store)
    upload = known.create(OWNER, filename="a", mime_type="b", purpose="batch", bytes=4)
    store(backend, "uploads/u/part-1")
    known.add_part(OWNER, upload.id, "part-1", bytes=4, sha256="", artifact="uploads/u/part-1")
    states = TextStates(broker, seconds=3600, bound=10**6)
    states.add(OWNER, "ft-1", BUNDLE, json.dumps({"tokens": 3}))
    broker.set("textgen:reader:r", "1", ex=3600)
    broker.xadd("textgen:answers:r", {"entries": "x"})
    return job
