"""Claims: whose turn it is, and that no two workers get the same job."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter

import pytest
import sqlalchemy as sa

from tests.integration.conftest import run
from tests.integration.statements import explain, statements
from worker.jobs.jobs import Jobs
from worker.jobs.tables import jobs as table
from worker.processes.presence import Presence
from worker.settings import Settings
from worker.storage.database import Database


def submit(jobs: Jobs, count: int = 1, tenant: str = "default", priority: int = 0) -> list[str]:
    return [jobs.submit(tenant, "training", {}, priority=priority).id for _ in range(count)]


def claim_all(jobs: Jobs) -> list[str]:
    found = []
    while (job := jobs.claim("training", "w1")) is not None:
        found.append(job.id)
    return found


def test_nothing_to_do(jobs: Jobs) -> None:
    jobs.submit("default", "batch", {})

    assert jobs.claim("training", "w1") is None


def test_a_claim_holds_for_a_lease(jobs: Jobs, database: Database, settings: Settings) -> None:
    submit(jobs)
    job = run(jobs, "w7", "life-3")

    with database.read() as connection:
        now = database.now(connection)
    assert job.lease_expires_at == pytest.approx(now + settings.lease_seconds, abs=5)
    assert (job.worker, job.incarnation, job.token) == ("w7", "life-3", 1)


def test_a_heartbeat_renews_the_lease(jobs: Jobs) -> None:
    submit(jobs)
    job = run(jobs)

    jobs.heartbeat(job)

    renewed = jobs.get("default", job.id).lease_expires_at
    assert renewed is not None and job.lease_expires_at is not None
    assert renewed > job.lease_expires_at


def test_one_tenants_jobs_go_in_order(jobs: Jobs) -> None:
    ids = submit(jobs, 5)

    assert claim_all(jobs) == ids


def test_a_higher_priority_goes_first(jobs: Jobs) -> None:
    low, normal, high = (submit(jobs, priority=priority)[0] for priority in (-1, 0, 1))

    assert claim_all(jobs) == [high, normal, low]


def test_a_single_job_goes_next_although_another_tenant_floods(jobs: Jobs) -> None:
    flood = submit(jobs, 20, "loud")
    first = run(jobs)
    single = submit(jobs, 1, "quiet")[0]

    assert first.id == flood[0]
    assert run(jobs).id == single


def test_tenants_take_turns(jobs: Jobs) -> None:
    tenant_of = {}
    for tenant in ("a", "b", "c"):
        tenant_of |= dict.fromkeys(submit(jobs, 4, tenant), tenant)

    order = "".join(tenant_of[job_id] for job_id in claim_all(jobs))

    assert [Counter(order[start : start + 3]) for start in (0, 3, 6, 9)] == [Counter("abc")] * 4


def test_a_tenant_that_comes_back_gets_no_credit_for_its_absence(jobs: Jobs) -> None:
    loud = submit(jobs, 12, "loud")
    for _ in range(6):
        run(jobs)
    quiet = submit(jobs, 4, "quiet")

    rest = claim_all(jobs)

    assert sum(job_id in quiet for job_id in rest[:4]) <= 3
    assert set(rest) == {*loud[6:], *quiet}


def test_one_that_comes_back_to_the_queue_keeps_its_turn(jobs: Jobs) -> None:
    first, second = submit(jobs, 2)
    jobs.requeue(run(jobs), "drain")

    assert claim_all(jobs) == [first, second]


def test_a_delayed_one_waits(jobs: Jobs, database: Database) -> None:
    first, second = submit(jobs, 2)
    back = jobs.requeue(run(jobs), "storage is away", delay=100, counts_as="attempt")

    assert back.state == "queued" and back.attempts == 1
    assert claim_all(jobs) == [second]
    assert jobs.due("training", 5) == 0

    with database.write() as connection:
        connection.execute(
            sa.update(table).where(table.c.id == first).values(due_at=database.now(connection) - 1)
        )
    assert jobs.due("training", 5) == 1
    assert claim_all(jobs) == [first]


def test_due_is_counted_up_to_the_limit(jobs: Jobs) -> None:
    submit(jobs, 7)

    assert [jobs.due("training", limit) for limit in (0, 3, 100)] == [0, 3, 7]
    assert jobs.due("batch", 100) == 0


def test_threads_never_get_the_same_job(jobs: Jobs) -> None:
    ids = submit(jobs, 60)
    found: list[list[str]] = [[] for _ in range(8)]
    barrier = threading.Barrier(len(found))

    def work(number: int) -> None:
        barrier.wait()
        while (job := jobs.claim("training", f"w{number}")) is not None:
            found[number].append(job.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(job_id for each in found for job_id in each) == sorted(ids)


CLAIMER = """
import json, sys
from worker.storage.database import Database
from worker.jobs.jobs import Jobs
from worker.processes.presence import Presence
from worker.settings import Settings

jobs = Jobs(Database(sys.argv[1]), Settings())
found = []
print("ready", flush=True)
sys.stdin.readline()
while (job := jobs.claim("training", sys.argv[2])) is not None:
    found.append([job.id, job.token])
print(json.dumps(found))
"""


def test_processes_never_get_the_same_job(jobs: Jobs, database_url: str) -> None:
    ids = submit(jobs, 60)
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, database_url, f"p{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for claimer in claimers:
        assert claimer.stdout is not None and claimer.stdout.readline() == "ready\n"

    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("\n")
        claimer.stdin.flush()
    found = [pair for claimer in claimers for pair in json.loads(claimer.communicate()[0])]

    assert sorted(found) == [[job_id, 1] for job_id in sorted(ids)]


def test_what_is_asked_often_walks_along_indexes(
    jobs: Jobs, database: Database, settings: Settings
) -> None:
    """At millions of rows none of it may read them all."""
    with statements(lambda each: "jobs" in each and not each.startswith("INSERT")) as asked:
        job_id = submit(jobs)[0]
        waiting = jobs.submit("default", "training", {}, deadline_seconds=100)
        jobs.due("training", 5)
        job = run(jobs)
        jobs.waiting(waiting)
        jobs.counts()
        jobs.needs_recovery()
        jobs.get("default", job_id)
        jobs.list("default", limit=5)
        jobs.list("default", kind="training", states=["running", "queued"], after=job_id)
        jobs.heartbeat(job)
        jobs.recover_expired()
        jobs.fail_overdue()
        jobs.free_predecessor("w1", "a")
        Presence(database, settings).idle_slots("training")

    assert len(asked) > 15
    with database.read() as connection:
        for each in asked:
            plan = explain(connection, each)
            assert not any(step.startswith(FULL_SCANS) for step in plan), (each, plan)
            if "ORDER BY jobs.priority" in each.statement:
                assert any("jobs_claim" in step for step in plan), (each, plan)


FULL_SCANS = ("SCAN jobs (", "Seq Scan on jobs")
