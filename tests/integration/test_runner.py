"""Claiming and running on real databases, also when the answer to a claim is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.integration.conftest import events_are_whole
from worker.errors import DatabaseUnavailable
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job, Queue
from worker.processes.identity import take_identity
from worker.processes.runner import Runner
from worker.settings import Settings
from worker.storage.database import Database


class LosesAnswers(Jobs):
    """Every second claim is committed, and nobody hears of it."""

    claims = 0

    def claim(self, queue: Queue, worker: str, incarnation: str = "") -> Job | None:
        claimed = super().claim(queue, worker, incarnation)
        self.claims += 1
        if claimed is not None and self.claims % 2:
            raise DatabaseUnavailable("the connection broke during COMMIT")
        return claimed


def test_a_claim_whose_answer_was_lost_costs_no_lease(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    jobs = LosesAnswers(database, settings)
    ids = [jobs.submit("default", "training", {}).id for _ in range(3)]
    ran = []

    def run(job: Job, _draining: Callable[[], bool]) -> None:
        ran.append((job.id, job.token))
        jobs.succeed(job, {})

    identity = take_identity(tmp_path, "train")
    with identity.lock:
        Runner(jobs, "training", identity, 1, run).run_due()

    assert ran == [(each, 2) for each in ids]
    for job_id in ids:
        assert jobs.get("default", job_id).losses == 0
        assert events_are_whole(jobs, job_id) == [
            "queued", "running", "queued", "running", "succeeded",
        ]  # fmt: skip


def test_what_is_worked_on_is_not_put_back(jobs: Jobs) -> None:
    for _ in range(3):
        jobs.submit("default", "training", {})
    mine, unheard = (jobs.claim("training", "w1", "a") for _ in range(2))
    assert mine is not None and unheard is not None
    other = jobs.claim("training", "w2", "b")
    assert other is not None

    freed = jobs.free_unheld("training", "w1", "a", {(mine.id, mine.token)})

    assert [job.id for job in freed] == [unheard.id]
    assert jobs.get("default", mine.id).state == "running"
    assert jobs.get("default", other.id).state == "running"
