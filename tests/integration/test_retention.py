"""What ended jobs leave goes when its time is over, and nothing that is still used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from tests.integration.conftest import run, store
from worker.backend import Backend
from worker.billing.costs import Costs
from worker.billing.prices import KindPrices, PriceList, Prices
from worker.errors import Gone, LeaseLost, NotFound
from worker.jobs.rows import Job
from worker.jobs.states import Kind
from worker.jobs.tables import checkpoints, job_events, jobs
from worker.operations.retention import DAY, PAGE, Retention
from worker.processes.chores import Chore
from worker.processes.sweep import Sweep
from worker.storage.files import NewFile, add_file
from worker.storage.models import NewModel, add_model
from worker.storage.tables import chores
from worker.tenants.audit import AuditLog
from worker.usage.tables import usage

KEPT_DAYS = 30
OWNER = "default"
Age = Callable[..., None]


@pytest.fixture
def kept(backend: Backend) -> Backend:
    """The same service with everything kept for 30 days."""
    days = {f"keep_{name}_days": KEPT_DAYS for name in ("events", "results", "checkpoints")}
    return replace(backend, settings=backend.settings.model_copy(update=days))


@pytest.fixture
def age(backend: Backend) -> Age:
    """Put the end of jobs back by days, behind the back of the guard of ended jobs."""

    def put_back(*ended: Job, days: float = KEPT_DAYS + 1) -> None:
        with backend.database.write() as connection, unguarded(connection):
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.id.in_([job.id for job in ended]))
                .values(finished_at=jobs.c.finished_at - days * DAY)
            )

    return put_back


@contextmanager
def unguarded(connection: sa.Connection) -> Iterator[None]:
    """Within the block the database lets ended jobs be changed."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("ALTER TABLE jobs DISABLE TRIGGER jobs_guard")
        yield
        connection.exec_driver_sql("ALTER TABLE jobs ENABLE TRIGGER jobs_guard")
        return
    found = "SELECT sql FROM sqlite_master WHERE name = 'jobs_finished_rows'"
    trigger = connection.exec_driver_sql(found).scalar_one()
    connection.exec_driver_sql("DROP TRIGGER jobs_finished_rows")
    yield
    connection.exec_driver_sql(trigger)


def training(backend: Backend, *, steps: int = 2, end: str = "succeeded", **spec: Any) -> Job:
    """An ended training with its checkpoints as models, named ckpt-<its id>-<step>."""
    backend.jobs.submit(OWNER, "training", spec)
    job = run(backend.jobs)
    for step in range(1, steps + 1):
        artifact = store(backend, f"jobs/{job.id}/{job.token}/step-{step}")
        model = NewModel(f"ckpt-{job.id}-{step}", OWNER, artifact, "content")
        backend.jobs.save_checkpoint(
            job, artifact=artifact, step=step, metrics={}, publish_model=model
        )
    if end == "failed":
        return backend.jobs.fail(job, {"code": "x", "message": "x", "param": None})
    if end == "cancelled":
        return backend.jobs.cancelled(job)
    own = NewModel(f"ft-{job.id}", OWNER, store(backend, f"jobs/{job.id}/1/model"), "content")
    return backend.jobs.succeed(
        job,
        {"fine_tuned_model": own.id},
        lambda connection: add_model(connection, OWNER, own, 1.0, job_id=job.id),
    )


def made(backend: Backend, kind: Kind, result: dict[str, Any]) -> Job:
    """An ended job of a kind; ids in its result become files that are called alike."""
    backend.jobs.submit(OWNER, kind, {})
    job = backend.jobs.claim("batch" if kind == "batch" else "training", "w")
    assert job is not None
    found = [value for value in result.values() if value is not None]
    ids = [each for value in found for each in ([value] if isinstance(value, str) else value)]
    for file_id in ids:
        store(backend, f"files/{file_id}")

    def publish(connection: sa.Connection) -> None:
        for file_id in ids:
            new = NewFile(file_id, "a", "x", 4, "", f"files/{file_id}", "content")
            add_file(connection, OWNER, new, 1.0)

    return backend.jobs.succeed(job, result, publish)


def models_of(backend: Backend, job: Job) -> list[str]:
    """Steps of a training's checkpoints that are there, and whether its model is."""
    found = {model.id for model in backend.models.list(OWNER) if job.id in model.id}
    return sorted(name.rpartition("-")[2] for name in found if name.startswith("ckpt-"))


def files_of(backend: Backend) -> set[str]:
    return {file.id for file in backend.files.list(OWNER).items}


class TestWhatGoes:
    def test_nothing_without_the_settings(self, backend: Backend, age: Age) -> None:
        job = training(backend)
        age(job, days=10_000)
        retention = Retention(backend)

        assert not retention.wanted
        assert retention.run_once() is None
        assert models_of(backend, job) == ["1", "2"]
        assert backend.jobs.events(OWNER, job.id)

    def test_nothing_before_its_time_and_nothing_of_live_jobs(
        self, backend: Backend, kept: Backend, age: Age
    ) -> None:
        young = training(backend)
        age(young, days=KEPT_DAYS - 1)
        batch = made(backend, "batch", {"output_file_id": "file-1", "error_file_id": None})
        live = backend.jobs.submit(OWNER, "training", {})

        assert Retention(kept).run_once() == {}

        assert models_of(backend, young) == ["1", "2"]
        assert files_of(backend) == {"file-1"}
        assert all(backend.jobs.events(OWNER, job.id) for job in (young, batch, live))

    def test_events_results_and_checkpoints_in_storage_too(
        self, backend: Backend, kept: Backend, age: Age
    ) -> None:
        trained = training(backend)
        results: list[tuple[Kind, dict[str, Any]]] = [
            ("training", {"result_files": ["file-csv"]}),
            ("batch", {"output_file_id": "file-out", "error_file_id": "file-err"}),
            ("batch", {"output_file_id": None, "error_file_id": "file-lone"}),
            ("scoring", {"scores_file_id": "file-rows", "summary_file_id": "file-sum"}),
            ("evaluation", {"report_file_id": "file-json", "page_file_id": "file-html"}),
        ]
        ended = [made(backend, kind, result) for kind, result in results]
        store(backend, "files/mine")
        backend.files.create(  # an upload that looks like a result
            OWNER, filename=f"{ended[1].id}_output.jsonl", purpose="batch_output",
            artifact="files/mine", file="content", id="file-mine",
        )  # fmt: skip
        age(trained, *ended)
        events = sum(len(backend.jobs.events(OWNER, job.id)) for job in (trained, *ended))

        removed = Retention(kept).run_once()

        assert removed == {"events": events, "results": 8, "checkpoints": 2}
        assert files_of(backend) == {"file-mine"}
        assert [model.id for model in backend.models.list(OWNER)] == [f"ft-{trained.id}"]
        assert set(backend.store.list()) == {"files/mine", f"jobs/{trained.id}/1/model"}
        assert backend.jobs.checkpoints(OWNER, trained.id).items == []
        # the jobs and what they used stay
        assert backend.jobs.get(OWNER, ended[1].id).result == results[1][1]
        with backend.database.read() as connection:
            assert len(connection.execute(sa.select(usage.c.job_id)).all()) == 6
        told = [(each.subject, each.data) for each in AuditLog(backend.database).list(None).items]
        assert (trained.id, {"resource": "checkpoints", "count": 2}) in told
        assert (ended[1].id, {"resource": "results", "count": 2}) in told

    def test_a_kind_of_job_that_makes_no_file_stops_nothing(
        self, backend: Backend, kept: Backend, age: Age
    ) -> None:
        trained = training(backend)
        output: dict[Kind, dict[str, Any]] = {"batch": {"output_file_id": "file-1"}}
        ended = [made(backend, kind, output.get(kind, {})) for kind in get_args(Kind)]
        age(trained, *ended)

        removed = Retention(kept).run_once()

        assert removed is not None
        assert (removed["results"], removed["checkpoints"]) == (1, 2)
        assert files_of(backend) == set()

    def test_what_a_pass_has_committed_but_not_deleted_is_swept(
        self, backend: Backend, kept: Backend, age: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = training(backend)
        batch = made(backend, "batch", {"output_file_id": "file-1"})
        age(job, batch)

        def die(_: str) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(backend.store, "delete", die)
            for _ in range(2):  # of the results, then of the checkpoints
                with pytest.raises(KeyboardInterrupt):
                    Retention(kept).run_once()
        assert len(list(backend.store.list())) == 4

        Sweep(kept, young_seconds=-1).run()

        assert list(backend.store.list()) == [f"jobs/{job.id}/1/model"]

    def test_many_jobs_and_many_events(self, backend: Backend, kept: Backend, age: Age) -> None:
        many = training(backend, steps=0)
        others = [backend.jobs.submit(OWNER, "training", {}) for _ in range(3)]
        ended = [many, *(backend.jobs.request_cancel(OWNER, job.id) for job in others)]
        with backend.database.write() as connection:
            with unguarded(connection):
                connection.execute(
                    sa.update(jobs).where(jobs.c.id == many.id).values(event_count=2503)
                )
            row = {
                "job_id": many.id, "tenant": OWNER, "created_at": 1.0,
                "level": "info", "type": "x", "message": "x", "data": {},
            }  # fmt: skip
            connection.execute(
                sa.insert(job_events), [{**row, "id": number} for number in range(4, 2504)]
            )
        age(*ended)
        assert PAGE > 3  # a page of one job each is tried below
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("worker.operations.retention.PAGE", 1)
            removed = Retention(kept).run_once()

        assert removed is not None
        assert removed["events"] == 2503 + 3 * 2
        with backend.database.read() as connection:
            assert connection.execute(sa.select(job_events)).first() is None


class TestWhatIsStillUsed:
    def test_checkpoints_with_an_alias_a_child_or_a_job(
        self, backend: Backend, kept: Backend, age: Age
    ) -> None:
        named, parent, live, failed, used = (training(backend) for _ in range(5))
        backend.models.set_alias(OWNER, "bot", f"ckpt-{named.id}-1")
        with backend.database.write() as connection:
            base = f"ckpt-{parent.id}-1"
            add_model(connection, OWNER, NewModel("child", OWNER, "a", "b", base=base), 1.0)
        for job, end in ((live, ""), (failed, "failed"), (used, "succeeded")):
            backend.jobs.submit(OWNER, "evaluation", {}, uses_models=[f"ckpt-{job.id}-1"])
            if end:
                claimed = run(backend.jobs)
                if end == "failed":
                    backend.jobs.fail(claimed, {"code": "x", "message": "x", "param": None})
                else:
                    backend.jobs.succeed(claimed, {})
            else:
                run(backend.jobs)
        age(named, parent, live, failed, used)
        retention = Retention(kept, every=0)

        retention.run_once()

        assert [models_of(backend, job) for job in (named, parent, live, failed, used)] == [
            ["1"], ["1"], ["1"], ["1"], [],
        ]  # fmt: skip
        assert f"jobs/{named.id}/1/step-1" in set(backend.store.list())
        backend.models.delete_alias(OWNER, "bot")  # and then it goes, though passed over before

        retention.run_once()

        assert models_of(backend, named) == []
        assert models_of(backend, parent) == ["1"]

    @pytest.mark.parametrize("end", ["failed", "cancelled"])
    def test_the_newest_checkpoint_of_a_training_without_a_model(
        self, backend: Backend, kept: Backend, age: Age, end: str
    ) -> None:
        job = training(backend, steps=3, end=end)
        age(job)

        Retention(kept).run_once()

        assert models_of(backend, job) == ["3"]
        assert backend.models.resolve(OWNER, job.id).id == f"ckpt-{job.id}-3"

    def test_results_that_are_inputs(self, backend: Backend, kept: Backend, age: Age) -> None:
        batch = made(backend, "batch", {"output_file_id": "file-a", "error_file_id": "file-b"})
        score = made(backend, "scoring", {"scores_file_id": "file-c", "summary_file_id": "file-d"})
        for file_id, end in (("file-a", "model"), ("file-c", "failed"), ("file-d", "nothing")):
            backend.jobs.submit(OWNER, "training", {}, uses_files=[file_id])
            job = run(backend.jobs)
            if end == "failed":
                backend.jobs.fail(job, {"code": "x", "message": "x", "param": None})
                continue
            new = NewModel(f"ft-{end}", OWNER, store(backend, f"jobs/{job.id}/1/model"), "content")
            with backend.database.write() as connection:
                if end == "model":
                    add_model(connection, OWNER, new, 1.0, job_id=job.id)
            backend.jobs.succeed(job, {})
        age(batch, score)

        Retention(kept).run_once()

        assert files_of(backend) == {"file-a", "file-c"}
        assert {"files/file-a", "files/file-c"} <= set(backend.store.list("files"))

    def test_one_that_is_taken_as_an_input_at_the_same_time(
        self, backend: Backend, kept: Backend, age: Age
    ) -> None:
        """Either the job gets its file or it is told that there is none."""
        ends = []
        for number in range(12):
            file_id = f"file-{number}"
            age(made(backend, "batch", {"output_file_id": file_id}))
            barrier = threading.Barrier(2)

            def submit(file_id: str = file_id, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                try:
                    job = backend.jobs.submit(OWNER, "training", {}, uses_files=[file_id])
                    ends.append((file_id, job.id))
                except NotFound:
                    ends.append((file_id, ""))

            thread = threading.Thread(target=submit)
            thread.start()
            barrier.wait()
            Retention(kept, every=0).run_once()
            thread.join()

        there = files_of(backend)
        assert {file_id for file_id, job_id in ends if job_id} == there
        assert {f"files/{file_id}" for file_id in there} == set(backend.store.list("files"))

    def test_bytes_that_another_file_shares(
        self, backend: Backend, kept: Backend, age: Age
    ) -> None:
        age(made(backend, "batch", {"output_file_id": "file-1"}))
        backend.files.create(
            OWNER, filename="a", purpose="x", artifact="files/file-1", file="content", id="file-2"
        )

        Retention(kept).run_once()

        assert files_of(backend) == {"file-2"}
        assert list(backend.store.list()) == ["files/file-1"]

    def test_what_an_ended_training_costs(self, backend: Backend, kept: Backend, age: Age) -> None:
        backend.jobs.submit(OWNER, "training", {})
        job = run(backend.jobs)
        backend.jobs.save_plan(job, {"tokens_per_step": 10})
        data = {"characters": 500, "tokens": 100}
        backend.jobs.add_event(job, type="corpus", message="", data=data)
        backend.jobs.set_progress(job, {"step": 4, "seconds": 2.0})
        job = backend.jobs.succeed(job, {})
        paid = KindPrices(million_characters_in=Decimal(5))
        prices = Prices([PriceList(currency="EUR", valid_from=date(2020, 1, 1), trainings=paid)])
        before = Costs(backend.database, prices).of_job(job, "EUR")
        assert before.so_far > 0
        age(job)

        Retention(kept).run_once()

        with pytest.raises(Gone):
            backend.jobs.events(OWNER, job.id)
        assert Costs(backend.database, prices).of_job(job, "EUR") == before


class TestReadersOfEvents:
    def test_they_are_told(self, backend: Backend, kept: Backend, age: Age) -> None:
        job = training(backend)
        count = len(backend.jobs.events(OWNER, job.id))
        age(job)
        Retention(kept).run_once()

        for after in (0, count - 1):
            with pytest.raises(Gone) as gone:
                backend.jobs.events(OWNER, job.id, after=after)
            assert gone.value.code == "events_removed"
        assert backend.jobs.events(OWNER, job.id, after=count) == []
        with pytest.raises(Gone):
            backend.jobs.events(OWNER, job.id, newest_first=True)
        with pytest.raises(Gone):
            backend.jobs.events(OWNER, job.id, after=2, newest_first=True)
        assert backend.jobs.events(OWNER, job.id, after=1, newest_first=True) == []

    def test_when_only_the_first_are_gone(self, backend: Backend) -> None:
        job = training(backend)
        last = backend.jobs.events(OWNER, job.id)[-1].id
        with backend.database.write() as connection:
            connection.execute(
                sa.delete(job_events).where(job_events.c.job_id == job.id, job_events.c.id < last)
            )

        with pytest.raises(Gone):
            backend.jobs.events(OWNER, job.id)
        (found,) = backend.jobs.events(OWNER, job.id, after=last - 1)
        assert found.id == last
        with pytest.raises(Gone):
            backend.jobs.events(OWNER, job.id, newest_first=True)
        (found,) = backend.jobs.events(OWNER, job.id, limit=1, newest_first=True)
        assert found.id == last


class TestOneAtATime:
    def test_the_second_does_nothing_until_it_is_due(
        self, backend: Backend, kept: Backend, age: Age
    ) -> None:
        first, second = Retention(kept), Retention(kept)
        assert first.run_once() is not None
        age(training(backend))

        assert second.run_once() is None

        with backend.database.write() as connection:
            connection.execute(sa.update(chores).values(due_at=0.0))
        assert second.run_once()

    def test_while_another_does_it(self, backend: Backend, kept: Backend) -> None:
        chore = Chore(backend.database, "retention", every=60)
        assert chore.begin()
        assert not chore.begin()

        assert Retention(kept).run_once() is None

        chore.end(done=False)
        assert Retention(kept).run_once() is not None

    def test_who_was_taken_over_writes_nothing_more(
        self, backend: Backend, kept: Backend, age: Age, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = training(backend)
        age(job)
        slow = Retention(kept)
        other = Chore(backend.database, "retention", every=0)

        class Asleep(threading.Event):
            """Its process sleeps past its lease just before it removes something."""

            def is_set(self) -> bool:
                with backend.database.write() as connection:
                    connection.execute(sa.update(chores).values(held_until=1.0))
                return not other.begin()

        removed = slow.run_once(Asleep())

        assert removed == {}
        assert "taken over" in caplog.text
        assert models_of(backend, job) == ["1", "2"]
        with backend.database.write() as connection:  # it is still the other's
            other.hold(connection)

    def test_of_two_at_once_one_does_each(self, backend: Backend, kept: Backend, age: Age) -> None:
        ended = [training(backend) for _ in range(6)]
        age(*ended)
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda: found.append(Retention(kept).run_once()))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(each is None for each in found) == [False, True, True]
        assert [each["checkpoints"] for each in found if each] == [12]

    def test_a_clock_that_was_set_back(self, backend: Backend) -> None:
        chore = Chore(backend.database, "x", every=60)
        assert chore.begin()
        with backend.database.write() as connection:
            now = backend.database.now(connection)
            connection.execute(sa.update(chores).values(due_at=now + 9999, held_until=now + 9999))

        assert Chore(backend.database, "x", every=60).begin()
        with pytest.raises(LeaseLost), backend.database.write() as connection:
            chore.hold(connection)


def test_a_deleted_model_is_no_checkpoint_any_more(backend: Backend) -> None:
    job = training(backend)

    backend.models.delete(OWNER, f"ckpt-{job.id}-2")

    (left,) = backend.jobs.checkpoints(OWNER, job.id).items
    assert left.step == 1
    with backend.database.read() as connection:
        assert len(connection.execute(sa.select(checkpoints.c.id)).all()) == 1
