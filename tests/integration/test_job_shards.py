from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from worker.batches.input import BatchLine
from worker.batches.shard import Shard
from worker.errors import DatabaseUnavailable
from worker.jobs import Job, Jobs
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.models import Models


@dataclass(frozen=True)
class Counts:
    completed: int
    failed: int
    prompt_tokens: int = 10
    completion_tokens: int = 20
    characters_in: int = 0
    characters_out: int = 0


def start(jobs: Jobs) -> Job:
    jobs.submit("default", "batch", {})
    return again(jobs)


def again(jobs: Jobs) -> Job:
    job = jobs.claim("batch", "w1")
    assert job is not None
    return job


def test_shards_are_planned_once_and_finished_once(jobs: Jobs) -> None:
    job = start(jobs)
    jobs.plan_shards(job, {"lines": 600}, [256, 256, 88])
    jobs.plan_shards(job, {"lines": 600}, [256, 256, 88])

    assert jobs.get("default", job.id).plan == {"lines": 600}
    assert jobs.shards_done(job) == []
    assert jobs.shard_counts(job) == {"total": 600, "completed": 0, "failed": 0}

    assert jobs.finish_shard(job, 2, "jobs/b/1/shard-2", Counts(80, 8))
    assert jobs.finish_shard(job, 0, "jobs/b/1/shard-0", Counts(256, 0))
    assert not jobs.finish_shard(job, 2, "jobs/b/1/other", Counts(0, 88))

    done = jobs.shards_done(job)
    assert [(shard.index, shard.artifact, shard.lines) for shard in done] == [
        (0, "jobs/b/1/shard-0", 256),
        (2, "jobs/b/1/shard-2", 88),
    ]
    assert (done[1].completed, done[1].failed, done[1].token) == (80, 8, 1)
    assert (done[1].prompt_tokens, done[1].completion_tokens) == (10, 20)
    assert jobs.shard_counts(job) == {"total": 600, "completed": 336, "failed": 8}


def test_the_next_worker_finds_what_is_done(jobs: Jobs, expire: Callable[[Job], None]) -> None:
    job = start(jobs)
    jobs.plan_shards(job, {}, [2, 2])
    jobs.finish_shard(job, 1, "a", Counts(2, 0))
    expire(job)
    jobs.recover_expired()

    job = again(jobs)
    jobs.finish_shard(job, 0, "b", Counts(2, 0))

    assert [(shard.index, shard.token) for shard in jobs.shards_done(job)] == [(0, 2), (1, 1)]


def test_a_finished_shard_forgives_the_losses(jobs: Jobs, expire: Callable[[Job], None]) -> None:
    job = start(jobs)
    jobs.plan_shards(job, {}, [1] * 10)
    for index in range(8):
        jobs.finish_shard(job, index, f"a{index}", Counts(1, 0))
        expire(job)
        (lost,) = jobs.recover_expired()
        assert (lost.state, lost.losses) == ("queued", 1)
        job = again(jobs)


def test_a_batch_of_a_million_lines(jobs: Jobs) -> None:
    job = start(jobs)
    sizes = [256] * 3906 + [64]

    jobs.plan_shards(job, {}, sizes)

    assert jobs.shard_counts(job)["total"] == 1_000_000


def test_an_outage_is_not_the_fault_of_a_line(jobs: Jobs) -> None:
    """It must not end up as an error in the output: the shard is prepared again later."""
    jobs.submit("default", "batch", {"endpoint": "/v1/completions"})
    lines = [BatchLine(0, "a", {"model": "m", "prompt": "x"})]
    shard = Shard(0, again(jobs), lines)

    with pytest.raises(DatabaseUnavailable):
        shard.prepare(Models(Database("postgresql+psycopg://127.0.0.1:1/nothing")), Settings())

    assert not shard.complete
