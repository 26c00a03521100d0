from __future__ import annotations

import pytest

from tests.integration.conftest import run
from worker.errors import NotFound
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Waiting
from worker.processes.presence import Presence
from worker.settings import Settings
from worker.storage.database import Database


def pages(jobs: Jobs, limit: int, **filters: object) -> list[list[str]]:
    found, after = [], None
    while True:
        page = jobs.list("default", limit=limit, after=after, **filters)  # type: ignore[arg-type]
        found.append([job.id for job in page.items])
        if not page.has_more:
            return found
        after = page.items[-1].id


def test_pages_newest_first_without_gap_or_repeat(jobs: Jobs) -> None:
    kinds = ["training", "batch", "batch", "training", "batch", "training", "training"]
    ids = [jobs.submit("default", kind, {}).id for kind in kinds]  # type: ignore[arg-type]
    jobs.submit("other", "training", {})
    newest = ids[::-1]

    assert pages(jobs, 3) == [newest[:3], newest[3:6], newest[6:]]
    assert pages(jobs, 7) == [newest]
    assert pages(jobs, 100, kind="batch") == [[i for i in newest if i.startswith("batch_")]]
    assert pages(jobs, 1, kind="training") == [[i] for i in newest if i.startswith("ftjob-")]


def test_new_jobs_do_not_disturb_whoever_pages(jobs: Jobs) -> None:
    ids = [jobs.submit("default", "training", {}).id for _ in range(6)]
    first = jobs.list("default", limit=3)
    for _ in range(3):
        jobs.submit("default", "training", {})

    second = jobs.list("default", limit=3, after=first.items[-1].id)

    assert [job.id for job in (*first.items, *second.items)] == ids[::-1]


def test_an_empty_page(jobs: Jobs) -> None:
    page = jobs.list("default")

    assert (list(page.items), page.has_more) == ([], False)


def test_by_states(jobs: Jobs) -> None:
    ids = [jobs.submit("default", "training", {}).id for _ in range(6)]
    claimed = [run(jobs) for _ in range(4)]
    jobs.succeed(claimed[0], {})
    jobs.fail(claimed[1], {"code": "x", "message": "x"})
    jobs.paused(claimed[2])

    assert pages(jobs, 2, states=["queued", "running", "paused"]) == [
        [ids[5], ids[4]],
        [ids[3], ids[2]],
    ]
    assert pages(jobs, 1, states=["succeeded", "failed", "failed"]) == [[ids[1]], [ids[0]]]
    assert pages(jobs, 5, states=["cancelled"]) == [[]]
    assert pages(jobs, 5, states=[]) == [[]]


def test_by_metadata(jobs: Jobs) -> None:
    odd = 'a"b.c[0]$'
    labels = [{"team": "x"}, {"team": "y", odd: "é"}, {"team": "x", "n": "1"}, {}]
    ids = [jobs.submit("default", "training", {}, metadata=each).id for each in labels]

    assert pages(jobs, 5, metadata={"team": "x"}) == [[ids[2], ids[0]]]
    assert pages(jobs, 5, metadata={"team": "x", "n": "1"}) == [[ids[2]]]
    assert pages(jobs, 5, metadata={odd: "é"}) == [[ids[1]]]
    assert pages(jobs, 5, metadata={"team": "X"}) == [[]]
    assert pages(jobs, 5, metadata={"n": ""}) == [[]]


def test_heads_of_more_jobs_than_a_query_has_parameters(jobs: Jobs) -> None:
    first, last = (jobs.submit("default", "training", {}).id for _ in range(2))
    unknown = [f"ftjob-{number}" for number in range(70_000)]

    heads = jobs.heads([first, *unknown, last, first])

    assert {job_id: head.state for job_id, head in heads.items()} == {
        first: "queued",
        last: "queued",
    }
    assert jobs.heads([]) == {}


def test_events_forward_and_backward(jobs: Jobs) -> None:
    jobs.submit("default", "training", {})
    job = run(jobs)
    for number in range(5):
        jobs.add_event(job, type="progress", message=str(number), level="warn")

    forward = jobs.events("default", job.id, after=2, limit=3)
    backward = jobs.events("default", job.id, newest_first=True, limit=3)
    further = jobs.events("default", job.id, newest_first=True, after=backward[-1].id, limit=9)

    assert [event.id for event in forward] == [3, 4, 5]
    assert (forward[0].message, forward[0].level, forward[0].type) == ("0", "warn", "progress")
    assert [event.id for event in backward] == [7, 6, 5]
    assert [event.id for event in further] == [4, 3, 2, 1]
    assert jobs.events("other", job.id) == []
    assert jobs.events("default", job.id, after=7) == []


def test_counts_over_all_tenants(jobs: Jobs) -> None:
    for tenant in ("a", "b", "c", "d"):
        jobs.submit(tenant, "training", {})
    jobs.submit("a", "batch", {})
    run(jobs)
    jobs.paused(run(jobs))
    jobs.succeed(run(jobs), {})

    assert sorted(jobs.counts()) == [
        ("batch", "queued", 1),
        ("training", "paused", 1),
        ("training", "queued", 1),
        ("training", "running", 1),
    ]


class TestWaiting:
    def test_nobody_is_there(self, jobs: Jobs) -> None:
        job = jobs.submit("default", "training", {})

        assert jobs.waiting(job) == Waiting("no_worker", 0, None)

    def test_behind_others(self, jobs: Jobs, database: Database, settings: Settings) -> None:
        Presence(database, settings).register("w1", "a", "train", {"training": 2})
        waiting = [jobs.submit("default", "training", {}) for _ in range(4)]
        urgent = jobs.submit("default", "training", {}, priority=1)

        positions = [jobs.waiting(job) for job in (*waiting, urgent)]

        assert [each and each.position for each in positions] == [1, 2, 3, 4, 0]
        assert {each.reason for each in positions if each} == {"behind_others"}

    def test_the_length_of_earlier_jobs_tells_when(
        self, jobs: Jobs, database: Database, settings: Settings
    ) -> None:
        Presence(database, settings).register("w1", "a", "train", {"training": 1})
        jobs.submit("default", "training", {})
        jobs.succeed(run(jobs), {})
        waiting = [jobs.submit("default", "training", {}) for _ in range(2)]

        starts = [each.estimated_start for job in waiting if (each := jobs.waiting(job))]

        assert starts[0] is not None and starts[1] is not None
        with database.read() as connection:
            assert starts[0] == pytest.approx(database.now(connection), abs=10)
        assert starts[1] >= starts[0]

    def test_not_waiting_any_more(self, jobs: Jobs) -> None:
        job = jobs.submit("default", "training", {})
        run(jobs)

        assert jobs.waiting(job) is None


def test_a_job_that_is_not_there(jobs: Jobs) -> None:
    with pytest.raises(NotFound):
        jobs.get("default", "ftjob-x")
