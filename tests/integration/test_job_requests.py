"""Submitting: what is stored, keys that make a request happen once, limits, things in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.integration.conftest import events_are_whole, run
from worker.backend import Backend
from worker.errors import Conflict, IdempotencyMismatch, NotFound, QueueFull
from worker.jobs.idempotency import IdempotencyKey, forget_keys
from worker.jobs.jobs import Jobs
from worker.jobs.rows import Job
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.models import NewModel, add_model

KEY = IdempotencyKey("client-1", "ab" * 32)


@pytest.fixture
def file_id(backend: Backend) -> str:
    with backend.store.create("files/f1") as staging:
        with staging.open("content") as stream:
            stream.write(b"text")
        staging.commit()
    return backend.files.create(
        "default", filename="a.txt", purpose="fine-tune", artifact="files/f1", file="content"
    ).id


@pytest.fixture
def model_id(backend: Backend) -> str:
    new = NewModel("ft:a", "default", "jobs/a/1/model", "m.safetensors")
    with backend.database.write() as connection:
        add_model(connection, "default", new, 1.0)
    return new.id


def test_what_was_asked_for_is_kept(jobs: Jobs, database: Database) -> None:
    spec = {"model": "lstm-tiny", "seed": 0, "nested": {"list": [1, 2.5, None, "é中\ufffd"]}}

    made = jobs.submit("acme", "training", spec, metadata={"a": "1"}, priority=3)

    with database.read() as connection:
        assert made.created_at == pytest.approx(database.now(connection), abs=5)
    assert made.id.startswith("ftjob-") and made == jobs.get("acme", made.id)
    assert (made.spec, made.metadata, made.priority) == (spec, {"a": "1"}, 3)
    assert events_are_whole(jobs, made.id, "acme") == ["queued"]
    assert jobs.submit("acme", "batch", {}).id.startswith("batch_")


def test_the_callers_transaction_decides(jobs: Jobs, database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        jobs.submit("default", "training", {}, connection=connection)
        _ = 1 / 0
    assert jobs.list("default").items == []

    with database.write() as connection:
        job = jobs.submit("default", "training", {}, connection=connection)
    assert jobs.get("default", job.id) == job


def test_a_job_that_ended_cannot_be_paused_though_that_was_asked_before(jobs: Jobs) -> None:
    jobs.submit("default", "training", {})
    job = run(jobs)
    jobs.request_pause("default", job.id)
    jobs.succeed(job, {})

    with pytest.raises(Conflict):
        jobs.request_pause("default", job.id)


class TestIdempotencyKey:
    def test_the_same_request_gives_the_same_job(self, jobs: Jobs) -> None:
        first = jobs.submit("default", "training", {"a": 1}, idempotency=KEY)
        run(jobs)

        second = jobs.submit("default", "training", {"a": 1}, idempotency=KEY)

        assert second.id == first.id and second.state == "running"
        assert len(jobs.list("default").items) == 1

    def test_another_body_is_refused(self, jobs: Jobs) -> None:
        jobs.submit("default", "training", {"a": 1}, idempotency=KEY)

        with pytest.raises(IdempotencyMismatch) as caught:
            other = IdempotencyKey(KEY.key, "cd" * 32)
            jobs.submit("default", "training", {"a": 2}, idempotency=other)
        assert caught.value.param == "Idempotency-Key"

    def test_tenants_do_not_share_keys(self, jobs: Jobs) -> None:
        first = jobs.submit("a", "training", {}, idempotency=KEY)

        assert jobs.submit("b", "training", {}, idempotency=KEY).id != first.id

    def test_many_at_once_make_one_job(self, jobs: Jobs) -> None:
        made: list[Job] = []
        barrier = threading.Barrier(8)

        def submit() -> None:
            barrier.wait()
            made.append(jobs.submit("default", "training", {}, idempotency=KEY))

        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(made) == 8 and len({job.id for job in made}) == 1
        assert len(jobs.list("default").items) == 1

    def test_a_request_that_failed_leaves_no_key(self, jobs: Jobs) -> None:
        with pytest.raises(NotFound):
            jobs.submit("default", "training", {}, uses_files=["file-x"], idempotency=KEY)

        assert jobs.submit("default", "training", {}, idempotency=KEY).state == "queued"

    def test_keys_are_forgotten(self, database: Database, jobs: Jobs) -> None:
        first = jobs.submit("default", "training", {}, idempotency=KEY)
        assert forget_keys(database, 1000) == 0
        assert jobs.submit("default", "training", {}, idempotency=KEY).id == first.id
        assert forget_keys(database, -1) == 1
        assert jobs.submit("default", "training", {}, idempotency=KEY).id != first.id


class TestUses:
    @pytest.fixture(params=["queued", "running", "paused"])
    def live(
        self, request: pytest.FixtureRequest, backend: Backend, file_id: str, model_id: str
    ) -> Iterator[Job]:
        jobs = backend.jobs
        job = jobs.submit(
            "default", "training", {}, uses_files=[file_id, file_id], uses_models=[model_id]
        )
        if request.param != "queued":
            job = run(jobs)
        if request.param == "paused":
            job = jobs.paused(job)
        yield job

    def test_a_live_job_keeps_its_files_and_models(
        self, backend: Backend, live: Job, file_id: str, model_id: str
    ) -> None:
        with pytest.raises(Conflict, match=live.id) as file_caught:
            backend.files.delete("default", file_id)
        with pytest.raises(Conflict, match=live.id) as model_caught:
            backend.models.delete("default", model_id)

        assert file_caught.value.code == "file_in_use"
        assert model_caught.value.code == "model_in_use"

    def test_a_finished_one_lets_go(self, backend: Backend, live: Job, file_id: str) -> None:
        backend.jobs.request_cancel("default", live.id)
        if live.state == "running":
            backend.jobs.cancelled(live)

        backend.files.delete("default", file_id)

        with pytest.raises(NotFound) as caught:
            backend.jobs.retry("default", live.id)
        assert caught.value.code == "file_not_found"

    def test_a_retry_uses_the_same(self, backend: Backend, live: Job, file_id: str) -> None:
        backend.jobs.request_cancel("default", live.id)
        if live.state == "running":
            backend.jobs.cancelled(live)

        new = backend.jobs.retry("default", live.id)

        with pytest.raises(Conflict, match=new.id):
            backend.files.delete("default", file_id)

    def test_what_is_not_there_cannot_be_used(self, jobs: Jobs, file_id: str) -> None:
        for tenant, files in (("default", [file_id, "file-none"]), ("other", [file_id])):
            with pytest.raises(NotFound):
                jobs.submit(tenant, "training", {}, uses_files=files)

        assert jobs.list("default").items == []

    @pytest.mark.parametrize("_attempt", range(6))
    def test_deleting_and_submitting_at_once(
        self, backend: Backend, file_id: str, _attempt: int
    ) -> None:
        """Either the file goes and the job is refused, or the job is there and the file stays."""
        outcomes: list[str] = []
        barrier = threading.Barrier(2)

        def delete() -> None:
            barrier.wait()
            try:
                backend.files.delete("default", file_id)
                outcomes.append("deleted")
            except Conflict:
                outcomes.append("kept")

        def submit() -> None:
            barrier.wait()
            try:
                backend.jobs.submit("default", "batch", {}, uses_files=[file_id])
                outcomes.append("submitted")
            except NotFound:
                outcomes.append("refused")

        threads = [threading.Thread(target=each) for each in (delete, submit)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) in (["deleted", "refused"], ["kept", "submitted"])


def test_the_queue_has_an_end(database: Database, settings: Settings) -> None:
    jobs = Jobs(database, settings.model_copy(update={"max_queued_jobs": 3}))
    for _ in range(3):
        jobs.submit("default", "training", {})

    with pytest.raises(QueueFull) as caught:
        jobs.submit("default", "training", {})

    assert caught.value.retry_after > 0
    assert len(jobs.list("default").items) == 3
