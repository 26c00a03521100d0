from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from worker.batches.input import BatchLine
from worker.batches.shard import Shard
from worker.errors import DatabaseUnavailable
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
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
    compute_seconds: float = 0.0


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


class TestACancelledBatchKeepsItsFinishedShards:
    """Whoever holds it: it waits, with the wish, for a worker that puts them together."""

    @pytest.fixture
    def job(self, jobs: Jobs) -> Job:
        job = start(jobs)
        jobs.plan_shards(job, {}, [2, 2])
        jobs.finish_shard(job, 1, "a", Counts(2, 0))
        return job

    def test_when_its_worker_is_lost(
        self, jobs: Jobs, job: Job, expire: Callable[[Job], None]
    ) -> None:
        jobs.request_cancel("default", job.id)
        expire(job)

        (lost,) = jobs.recover_expired()

        assert (lost.state, lost.cancel_requested_at is not None) == ("queued", True)
        self.ends(jobs)

    def test_when_its_worker_is_lost_too_often(
        self, jobs: Jobs, job: Job, settings: Settings, expire: Callable[[Job], None]
    ) -> None:
        jobs.request_cancel("default", job.id)
        expire(job)
        jobs.recover_expired()
        states = []
        for _ in range(settings.max_losses - 1):
            expire(again(jobs))
            states += [each.state for each in jobs.recover_expired()]

        assert states == ["queued"] * (settings.max_losses - 2) + ["cancelled"]

    @pytest.mark.parametrize("drained", [True, False])
    def test_when_nobody_works_on_it(self, jobs: Jobs, job: Job, drained: bool) -> None:
        if drained:
            jobs.requeue(job, "drain")
        else:
            jobs.request_pause("default", job.id)
            jobs.paused(job)

        asked = [jobs.request_cancel("default", job.id).state for _ in range(2)]

        assert asked == ["queued", "queued"]
        self.ends(jobs)

    def ends(self, jobs: Jobs) -> None:
        job = again(jobs)
        assert job.cancel_requested_at is not None
        assert [shard.artifact for shard in jobs.shards_done(job)] == ["a"]
        assert jobs.cancelled(job, {"kept": 2}).result == {"kept": 2}
        states = [event.type for event in jobs.events("default", job.id, limit=100)]
        assert states[-1] == "cancelled"
