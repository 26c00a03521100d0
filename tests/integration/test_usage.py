"""Each job's usage counts once, whatever happens to it on the way."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.statements import explain, statements
from worker.backend import Backend
from worker.contracts import BundleReference, ChoiceDelta, GenerateRequest, Owner
from worker.contracts import Usage as Tokens
from worker.errors import Conflict, DatabaseUnavailable, LeaseLost, NotFound
from worker.generation.engine_link import Update
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.jobs.states import FINAL
from worker.settings import Settings
from worker.storage.database import Database
from worker.usage.interactive import InteractiveMeter
from worker.usage.quantities import NAMES, Quantities
from worker.usage.storage_usage import StorageMeter
from worker.usage.tables import usage
from worker.usage.usage import Usage, UsageQuery

from textgen.options import SamplingOptions  # isort: skip

EVER = UsageQuery(0, 1e12)


@dataclass(frozen=True)
class Counts:
    completed: int
    prompt_tokens: int
    characters_in: int
    characters_out: int
    failed: int = 0
    completion_tokens: int = 1
    compute_seconds: float = 0.0


def rows(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        return {row.id: row for row in connection.execute(sa.select(usage)).all()}


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_a_batch_is_counted_once(
    seed: int, jobs: Jobs, database: Database, expire: Callable[[Job], None]
) -> None:
    """A walk of kills, drains, zombies, pauses and cancels; shards are done in between."""
    chance = random.Random(seed)
    job = jobs.submit("acme", "batch", {"model": "m"})
    done: dict[int, Counts] = {}
    holders: list[Job] = []
    for _ in range(60):
        state = jobs.get("acme", job.id).state
        if state in FINAL:
            break
        step = chance.choice(
            ["claim", "shard", "shard", "kill", "drain", "pause", "resume", "end", "cancel"]
        )
        holder = chance.choice(holders) if holders else None  # it may be a zombie
        try:
            if step == "claim" and (found := jobs.claim("batch", "w")) is not None:
                holders.append(found)
                jobs.plan_shards(found, {"lines": 40}, [10, 10, 10, 10])
            elif step == "kill" and state == "running":
                expire(jobs.get("acme", job.id))
                jobs.recover_expired()
            elif step == "shard" and holder is not None:
                index = chance.randrange(4)
                amounts = (chance.randrange(1, 100) for _ in range(4))
                counts = Counts(*amounts, compute_seconds=chance.randrange(1, 64) / 64)
                if jobs.finish_shard(holder, index, f"shard-{index}", counts):
                    assert index not in done
                    done[index] = counts
            elif step == "drain" and holder is not None:
                jobs.requeue(holder, "drain")
            elif step == "pause":
                jobs.request_pause("acme", job.id)
                if holder is not None:
                    jobs.paused(holder)
            elif step == "resume":
                jobs.resume("acme", job.id)
            elif step == "end" and holder is not None and chance.random() < 0.3:
                jobs.succeed(holder, {})
            elif step == "cancel" and chance.random() < 0.2:
                jobs.request_cancel("acme", job.id)
        except (LeaseLost, Conflict, NotFound):
            continue
        if jobs.get("acme", job.id).state not in FINAL:
            assert rows(database) == {}
    else:
        jobs.request_cancel("acme", job.id)
        if jobs.get("acme", job.id).state == "running":
            expire(jobs.get("acme", job.id))
            jobs.recover_expired()
        if (last := jobs.claim("batch", "w")) is not None:  # it puts together what is done
            jobs.cancelled(last)

    ended = jobs.get("acme", job.id)
    (row,) = rows(database).values()

    assert (row.id, row.tenant, row.kind, row.outcome) == (job.id, "acme", "batches", ended.state)
    assert row.billable == (ended.state != "failed")
    assert row.characters_in == sum(counts.characters_in for counts in done.values())
    assert row.characters_out == sum(counts.characters_out for counts in done.values())
    assert row.tokens_in == sum(counts.prompt_tokens for counts in done.values())
    assert row.requests == sum(counts.completed for counts in done.values())
    assert row.compute_seconds == sum(counts.compute_seconds for counts in done.values())


def test_a_training_pays_for_the_steps_that_count(jobs: Jobs, database: Database) -> None:
    job = jobs.submit("acme", "training", {"model": "lstm-tiny"})
    first = jobs.claim("training", "w1")
    assert first is not None
    jobs.save_plan(first, {"tokens_per_step": 256})
    corpus = {"characters": 3000, "tokens": 1000}
    jobs.add_event(first, type="corpus", message="", data=corpus)
    jobs.set_progress(first, {"step": 90, "seconds": 45.0})
    jobs.requeue(first, "lost", counts_as="loss")
    second = jobs.claim("training", "w2")
    assert second is not None
    jobs.set_progress(second, {"step": 100, "seconds": 50.0})  # it began again at step 80

    jobs.succeed(second, {})
    again = jobs.submit("acme", "training", {"model": "lstm-tiny"}, retry_of=job.id)
    jobs.request_cancel("acme", again.id)

    found = rows(database)
    assert found[job.id].tokens_in == 25_600
    assert found[job.id].characters_in == 76_800
    assert found[job.id].compute_seconds == 50.0
    assert found[again.id].compute_seconds == found[again.id].tokens_in == 0
    assert (found[again.id].billable, found[again.id].outcome) == (True, "cancelled")


def test_our_failures_are_free_and_a_deadline_is_not(jobs: Jobs, database: Database) -> None:
    failed, late = (
        jobs.submit("acme", "evaluation", {}),
        jobs.submit("acme", "evaluation", {}, deadline_seconds=0.0),
    )
    running = jobs.claim("training", "w1")
    assert running is not None
    jobs.set_progress(running, {"compute_seconds": 3.5})
    jobs.fail(running, {"code": "poison", "message": "", "param": None})
    jobs.fail_overdue()

    found = rows(database)
    assert (found[failed.id].billable, found[failed.id].compute_seconds) == (False, 3.5)
    assert found[late.id].billable
    used = Usage(database).total(UsageQuery(0, 1e12, billable_only=True))
    assert used == Quantities(requests=1)


class TestInteractive:
    def request(self, number: int, model: str = "m") -> GenerateRequest:
        return GenerateRequest(
            id=f"cmpl-{number}",
            owner=Owner(tenant="acme", api_key="k", model=model),
            bundle=BundleReference(artifact="a", file="f"),
            prompts=("hello", (1, 2, 3)),
            options=SamplingOptions(),
            seed=1,
            echo=True,
        )

    def answer(self, meter: InteractiveMeter, number: int) -> None:
        meter.begin(self.request(number))
        delta = ChoiceDelta(index=0, text="hello you", tokens=3, echoed=6, prompt_tokens=8)
        empty = ChoiceDelta(index=1, text="", finish_reason="stop")
        meter.take([Update(f"cmpl-{number}", (delta, empty), seconds=0.25)])
        meter.take([Update(f"cmpl-{number}", (), usage=Tokens(prompt_tokens=8), seconds=0.5)])

    def test_what_was_made_is_written_once(self, database: Database) -> None:
        meter = InteractiveMeter(database)
        for number in range(3):
            self.answer(meter, number)

        meter.flush()
        meter.flush()

        (row,) = rows(database).values()
        assert (row.tenant, row.api_key, row.model, row.requests) == ("acme", "k", "m", 3)
        assert (row.characters_in, row.characters_out) == (3 * 8, 3 * 3)  # the echo is no output
        assert (row.tokens_in, row.tokens_out) == (3 * 8, 3 * 3)
        assert row.compute_seconds == 3 * 0.75

    def test_a_client_that_leaves_pays_for_what_was_made(self, database: Database) -> None:
        meter = InteractiveMeter(database)
        meter.begin(self.request(1))
        delta = ChoiceDelta(index=0, text="x" * 20, tokens=5, echoed=5, prompt_tokens=8)
        meter.take([Update("cmpl-1", (delta,))])
        meter.forget("cmpl-1")
        meter.take([Update("cmpl-1", (ChoiceDelta(index=0, text="late", tokens=5),))])

        meter.flush()

        (row,) = rows(database).values()
        assert (row.requests, row.tokens_in, row.tokens_out) == (1, 8, 5)
        assert (row.characters_in, row.characters_out) == (5, 15)  # of the first prompt

    def test_a_request_that_never_began_is_free(self, database: Database) -> None:
        meter = InteractiveMeter(database)
        meter.begin(self.request(1))
        meter.take([Update("cmpl-1", (), error={"code": "x"}, seconds=0.5)])

        meter.flush()

        assert rows(database) == {}

    def test_a_write_whose_end_nobody_knows_is_repeated_and_counts_once(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        meter = InteractiveMeter(database)
        self.answer(meter, 1)
        write = database.write

        class Broken:
            def __enter__(self) -> Any:
                self.inner = write()
                return self.inner.__enter__()

            def __exit__(self, *told: Any) -> None:
                self.inner.__exit__(*told)
                raise DatabaseUnavailable("the reply to COMMIT was lost")

        monkeypatch.setattr(database, "write", Broken)
        meter.flush()
        monkeypatch.undo()
        meter.flush()

        (row,) = rows(database).values()
        assert row.requests == 1


def test_an_hour_of_storage_is_counted_once(backend: Backend, settings: Settings) -> None:
    with backend.store.create("files/a") as staging:
        with staging.open("content") as target:
            target.write(b"x" * 100)
        staging.commit()
    for _ in range(2):
        backend.files.create(
            "acme", filename="a.txt", purpose="batch", artifact="files/a", file="content"
        )

    StorageMeter(backend).run()
    StorageMeter(backend).run()  # another reconciler

    found = [row for row in rows(backend.database).values() if row.kind == "storage"]
    assert [(row.tenant, row.byte_hours) for row in found] == [("acme", 200.0)]


def test_sums_and_rows(jobs: Jobs, database: Database) -> None:
    meter = InteractiveMeter(database)
    TestInteractive().answer(meter, 1)
    meter.flush()
    for tenant in ("acme", "globex"):
        jobs.request_cancel(tenant, jobs.submit(tenant, "training", {"model": "lstm-tiny"}).id)
    reader = Usage(database)

    by_kind = reader.sums(UsageQuery(0, 1e12, ["acme"]), 1e12, ["kind", "model"])
    listed = list(reader.rows(EVER))

    assert [(found.group["kind"], found.group["model"]) for found in by_kind] == [
        ("completions", "m"),
        ("trainings", "lstm-tiny"),
    ]
    assert by_kind[0].quantities.tokens_in == 8
    assert [row.tenant for row in listed] == ["acme", "acme", "globex"]
    assert list(reader.rows(UsageQuery(0, 1e12, []))) == []


class TestExport:
    """Row by row, as it is handed to billing systems."""

    def fill(self, database: Database) -> list[tuple[float, str, str]]:
        """Rows of three tenants, some of one moment; by time and id."""
        chance = random.Random(1)
        found = [
            (float(chance.randrange(1, 8)), f"use-{number:02}", chance.choice("abc"))
            for number in range(40)
        ]
        with database.write() as connection:
            connection.execute(
                sa.insert(usage),
                [
                    {
                        **dict.fromkeys(NAMES, 0),
                        "id": name, "tenant": tenant, "kind": "completions",
                        "outcome": "succeeded", "billable": True, "at": at,
                    }
                    for at, name, tenant in found
                ],
            )  # fmt: skip
        return sorted(found)

    @pytest.mark.parametrize("page", [1, 3, 10, 100])
    def test_each_row_comes_once_and_in_order(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, page: int
    ) -> None:
        monkeypatch.setattr("worker.usage.usage.PAGE", page)
        there = [each for each in self.fill(database) if 2 <= each[0] < 7]

        for tenants in (None, ["a"], ["b", "a", "b"], ["x"]):
            rows = Usage(database).rows(UsageQuery(2, 7, tenants))

            wanted = [each for each in there if tenants is None or each[2] in tenants]
            assert [(row.at, row.id, row.tenant) for row in rows] == wanted

    @pytest.mark.parametrize("tenants", [None, ["a"], ["a", "b"]])
    def test_a_page_begins_where_the_last_one_ended(
        self,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
        tenants: list[str] | None,
    ) -> None:
        """A page costs the same wherever it stands: an index leads to it, and nothing is sorted."""
        monkeypatch.setattr("worker.usage.usage.PAGE", 3)
        self.fill(database)
        with statements(lambda each: "FROM usage" in each) as asked:
            found = list(Usage(database).rows(UsageQuery(0, 1e12, tenants)))

        assert len(asked) > len(found) // 3
        index = "usage_at" if tenants is None else "usage_tenant"
        bound = "(at,id)>" if database.is_sqlite else "(ROW(at, id) >"
        with database.read() as connection:
            for each in asked:
                plan = "\n".join(explain(connection, each))
                assert index in plan and bound in plan, plan
                assert not re.search("SCAN |Seq Scan|TEMP B-TREE|Sort", plan), plan
