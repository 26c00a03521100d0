"""A worker that lost its job can write nothing any more, whatever it tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tests.integration.conftest import events_are_whole, run
from worker.backend import Backend
from worker.errors import LeaseLost
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.tables import batch_shards, checkpoints, job_events
from worker.jobs.tables import jobs as table
from worker.storage.database import Database
from worker.storage.models import NewModel, add_model
from worker.storage.tables import models

MODEL = NewModel(id="ft:x", owned_by="default", artifact="jobs/x/1/model", file="m.safetensors")


@dataclass(frozen=True)
class Counts:
    completed: int = 3
    failed: int = 1
    prompt_tokens: int = 30
    completion_tokens: int = 40
    characters_in: int = 0
    characters_out: int = 0
    compute_seconds: float = 0.0


def publish_with(backend: Backend) -> Callable[[Connection], None]:
    def publish(connection: Connection) -> None:
        add_model(connection, "default", MODEL, backend.database.now(connection))

    return publish


WRITES: dict[str, Callable[[Backend, Job], object]] = {
    "heartbeat": lambda backend, job: backend.jobs.heartbeat(job),
    "signals": lambda backend, job: backend.jobs.signals(job),
    "progress": lambda backend, job: backend.jobs.set_progress(job, {"step": 1}),
    "plan": lambda backend, job: backend.jobs.save_plan(job, {"total_steps": 1}),
    "phase": lambda backend, job: backend.jobs.set_phase(job, "finalizing"),
    "event": lambda backend, job: backend.jobs.add_event(job, type="x", message="late"),
    "checkpoint": lambda backend, job: backend.jobs.save_checkpoint(
        job, artifact="late", step=9, metrics={}, publish_model=MODEL
    ),
    "plan_shards": lambda backend, job: backend.jobs.plan_shards(job, {}, [2, 2]),
    "finish_shard": lambda backend, job: backend.jobs.finish_shard(job, 0, "late", Counts()),
    "succeed": lambda backend, job: backend.jobs.succeed(job, {}, publish_with(backend)),
    "cancelled": lambda backend, job: backend.jobs.cancelled(job, {}, publish_with(backend)),
    "fail": lambda backend, job: backend.jobs.fail(job, {"code": "x", "message": "late"}),
    "paused": lambda backend, job: backend.jobs.paused(job),
    "requeue": lambda backend, job: backend.jobs.requeue(job, "late", counts_as="loss"),
}


def everything(database: Database) -> list[object]:
    """All rows that a worker can write."""
    with database.read() as connection:
        return [
            connection.execute(sa.select(each).order_by(*each.primary_key)).all()
            for each in (table, job_events, batch_shards, checkpoints, models)
        ]


def reclaimed(jobs: Jobs, job: Job, expire: Callable[[Job], None]) -> None:
    expire(job)
    assert [lost.id for lost in jobs.recover_expired()] == [job.id]
    assert run(jobs, "w2").token == job.token + 1


@pytest.mark.parametrize("write", sorted(WRITES))
@pytest.mark.parametrize("lost", ["queued again", "claimed by another", "finished by another"])
def test_a_zombies_writes_touch_nothing(
    backend: Backend, expire: Callable[[Job], None], write: str, lost: str
) -> None:
    jobs = backend.jobs
    jobs.submit("default", "training", {})
    zombie = run(jobs)
    jobs.plan_shards(zombie, {}, [4])
    if lost == "queued again":
        jobs.requeue(zombie, "drain")
    else:
        reclaimed(jobs, zombie, expire)
        if lost == "finished by another":
            jobs.succeed(jobs.get("default", zombie.id), {"by": "w2"})
    before = everything(backend.database)

    with pytest.raises(LeaseLost):
        WRITES[write](backend, zombie)

    assert everything(backend.database) == before
    events_are_whole(jobs, zombie.id)


@pytest.mark.parametrize("write", sorted(WRITES))
def test_the_holder_may_write(backend: Backend, write: str) -> None:
    backend.jobs.submit("default", "training", {})
    job = run(backend.jobs)
    backend.jobs.plan_shards(job, {}, [4])

    WRITES[write](backend, job)

    events_are_whole(backend.jobs, job.id)


def test_an_expired_lease_that_nobody_took_can_be_renewed(
    jobs: Jobs, expire: Callable[[Job], None]
) -> None:
    jobs.submit("default", "training", {})
    job = run(jobs)
    expire(job)

    jobs.heartbeat(job)

    assert jobs.recover_expired() == []
    assert jobs.succeed(job, {}).state == "succeeded"


def test_what_cannot_be_published_does_not_end_the_job(backend: Backend) -> None:
    jobs = backend.jobs
    jobs.submit("default", "training", {})
    job = run(jobs)

    def publish(connection: Connection) -> None:
        publish_with(backend)(connection)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        jobs.succeed(job, {}, publish)

    assert jobs.get("default", job.id).state == "running"
    assert backend.models.list("default") == []
    assert events_are_whole(jobs, job.id) == ["queued", "running"]


def test_the_model_and_the_end_are_one_commit(backend: Backend) -> None:
    jobs = backend.jobs
    jobs.submit("default", "training", {})

    jobs.succeed(run(jobs), {}, publish_with(backend))

    assert [model.id for model in backend.models.list("default")] == [MODEL.id]


def test_events_of_many_writers_have_no_gap(jobs: Jobs) -> None:
    """The owner's wishes and the worker's events count under the same row lock."""
    import threading

    jobs.submit("default", "training", {})
    job = run(jobs)

    def work() -> None:
        for number in range(15):
            jobs.add_event(job, type="progress", message=str(number), data={"number": number})

    def wish() -> None:
        for _ in range(10):
            jobs.request_pause("default", job.id)
            jobs.resume("default", job.id)

    threads = [threading.Thread(target=each) for each in (work, work, wish)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    types = events_are_whole(jobs, job.id)
    assert types.count("progress") == 30
    assert types.count("pause_requested") == types.count("pause_withdrawn") == 10


def test_events_keep_what_a_database_could_refuse(jobs: Jobs) -> None:
    jobs.submit("default", "training", {})
    job = run(jobs)

    jobs.add_event(
        job,
        type="sample",
        message="a\0b\ud800",
        data={"text": "\0", "loss": float("nan"), "more": [float("inf"), 1.5, ("x", None)]},
    )

    event = jobs.events("default", job.id, newest_first=True, limit=1)[0]
    assert event.message.startswith("a\ufffdb")
    assert event.data == {"text": "\ufffd", "loss": None, "more": [None, 1.5, ["x", None]]}
