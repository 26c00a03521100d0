from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.integration.conftest import run, store
from worker.backend import Backend
from worker.batches.shard import ShardCounts
from worker.errors import NotFound
from worker.processes.orphans import FEW
from worker.processes.sweep import KEEP_SESSIONS_SECONDS, Sweep
from worker.storage.artifacts import ArtifactStore
from worker.storage.key_rows import AT_ONCE, SESSION_NAME, forget_sessions
from worker.storage.keys import Keys
from worker.storage.models import NewModel, add_model
from worker.storage.tables import api_keys


@pytest.fixture
def sweep(backend: Backend) -> Sweep:
    return Sweep(backend, young_seconds=-1)  # whatever is there is old enough


def test_only_what_nothing_points_to_goes(backend: Backend, sweep: Sweep) -> None:
    jobs = backend.jobs
    for _ in range(2):
        jobs.submit("default", "training", {})
    finished, live = run(jobs), run(jobs)
    jobs.submit("default", "batch", {})
    batch = jobs.claim("batch", "w1")
    assert batch is not None
    jobs.plan_shards(batch, {}, [3, 3])
    jobs.finish_shard(batch, 0, f"jobs/{batch.id}/1/shard-0", ShardCounts(3, 0, 3, 3, 3, 3, 0.1))
    jobs.fail(batch, {"code": "poison", "message": "", "param": None})
    kept = {
        store(backend, f"jobs/{finished.id}/1/step-10"),
        store(backend, f"jobs/{finished.id}/1/model"),
        store(backend, f"jobs/{live.id}/1/step-10"),  # its row may be about to point to it
        store(backend, "files/known"),
        store(backend, "elsewhere/1"),
    }
    orphans = {
        store(backend, f"jobs/{finished.id}/1/step-9"),
        store(backend, f"jobs/{finished.id}/1/step-8"),
        store(backend, f"jobs/{batch.id}/1/shard-0"),  # of a batch that failed half-way
        store(backend, "jobs/ftjob-none/1/step-1"),
        store(backend, "files/unknown"),
    }
    for step in (8, 10):
        named = f"jobs/{finished.id}/1/step-{step}"
        checkpoint = NewModel(f"ft:a:ckpt-step-{step}", "default", named, "content")
        jobs.save_checkpoint(
            finished, artifact=named, step=step, metrics={}, publish_model=checkpoint
        )
    backend.models.delete("default", "ft:a:ckpt-step-8")  # while its training runs
    new = NewModel("ft:a", "default", f"jobs/{finished.id}/1/model", "content")
    jobs.succeed(finished, {}, lambda connection: add_model(connection, "default", new, 1.0))
    backend.files.create(
        "default", filename="a", purpose="batch", artifact="files/known", file="content"
    )
    assert set(backend.store.list()) == kept | orphans

    sweep.run()

    assert set(backend.store.list()) == kept


@pytest.mark.parametrize(("strange", "own"), [(1, 0), (8, 0), (FEW + 5, FEW)])
def test_a_storage_of_another_database_is_left_alone(
    backend: Backend,
    sweep: Sweep,
    caplog: pytest.LogCaptureFixture,
    strange: int,
    own: int,
) -> None:
    """An emptied database volume, or the storage of production in a fresh home."""
    for number in range(strange):
        store(backend, f"{('files', 'models')[number % 2]}/of-another-{number}")
    for number in range(own):
        name = store(backend, f"files/{number}")
        backend.files.create("a", filename="a", purpose="batch", artifact=name, file="content")
    before = set(backend.store.list())

    for _ in range(3):
        sweep.run()

    assert set(backend.store.list()) == before
    told = [each.getMessage() for each in caplog.records if "belong together" in each.getMessage()]
    assert len(told) == 1 and f"{strange} artifacts" in told[0]


def test_what_known_jobs_left_goes_however_much_it_is(backend: Backend, sweep: Sweep) -> None:
    backend.jobs.submit("default", "training", {})
    job = run(backend.jobs)
    for step in range(2 * FEW):
        store(backend, f"jobs/{job.id}/1/step-{step}")
    backend.jobs.fail(job, {"code": "poison", "message": "", "param": None})

    sweep.run()

    assert list(backend.store.list()) == []


def test_many_artifacts_take_few_questions(
    backend: Backend, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.jobs.submit("default", "training", {})
    job = run(backend.jobs)
    for number in range(300):
        folder = backend.settings.home / "artifacts" / "jobs" / job.id / "1" / f"step-{number}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"files": {}}')
    backend.jobs.fail(job, {"code": "poison", "message": "", "param": None})
    asked: list[int] = []
    original = backend.database.read

    def read() -> AbstractContextManager[sa.Connection]:
        asked.append(1)
        return original()

    monkeypatch.setattr(backend.database, "read", read)

    assert sweep.remove_orphans() == 300
    assert len(asked) == 2  # once when they were found, once before they go


def test_sessions_that_ended_long_ago_go(backend: Backend, sweep: Sweep) -> None:
    keys = Keys(backend.database)
    long_ago = -KEEP_SESSIONS_SECONDS - 60
    owner = keys.create("acme", "a person's", ["read"])[0]
    ended = keys.create("acme", SESSION_NAME, ["read"], expires_in=long_ago)[0]  # only called so
    kept = [owner.id, ended.id]
    # The usage of the one that has ended is shown yet, with its name.
    kept += [keys.sign_in(owner, seconds)[0].id for seconds in (3600, -60)]
    gone, signed_out = (keys.sign_in(owner, long_ago)[0] for _ in range(2))
    keys.revoke("acme", signed_out.id)

    sweep.run()

    assert sorted(key.id for key in keys.list("acme")) == sorted(kept)
    with pytest.raises(NotFound):
        keys.get("acme", gone.id)


def test_many_sessions_go_in_one_pass(backend: Backend) -> None:
    with backend.database.write() as connection:
        connection.execute(
            sa.insert(api_keys),
            [
                {
                    "id": f"key-{number}",
                    "tenant": "acme",
                    "name": SESSION_NAME,
                    "secret_sha256": b"",
                    "scopes": ["read"],
                    "created_at": 1.0,
                    "expires_at": 2.0,
                    "owner": "key",
                }
                for number in range(2 * AT_ONCE + 5)
            ],
        )

    assert forget_sessions(backend.database, KEEP_SESSIONS_SECONDS) == 2 * AT_ONCE + 5
    assert Keys(backend.database).list("acme") == []


def test_no_empty_folders_are_left(backend: Backend, sweep: Sweep) -> None:
    root = backend.settings.home / "artifacts"
    kept = store(backend, "files/known")
    backend.files.create("default", filename="a", purpose="batch", artifact=kept, file="content")
    store(backend, "jobs/ftjob-none/1/step-1")
    (root / "jobs" / "ftjob-other" / "2").mkdir(parents=True)

    Sweep(backend).run()
    assert (root / "jobs" / "ftjob-other" / "2").is_dir()  # somebody may be about to use it

    sweep.run()
    assert list((root / "jobs").iterdir()) == []
    assert list(backend.store.list()) == [kept]


def test_a_folder_that_is_swept_away_is_made_again(tmp_path: Path) -> None:
    """While others publish into it."""
    store = ArtifactStore(str(tmp_path))
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            store.remove_empty_folders("jobs", -1)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(100):
            with store.create(f"jobs/a/{number}/step-1") as staging:
                staging.commit()
    finally:
        over.set()
        sweeper.join()

    assert len(list(store.list("jobs"))) == 100


def test_young_ones_stay(backend: Backend) -> None:
    store(backend, "files/just-uploaded")

    Sweep(backend).run()

    assert list(backend.store.list()) == ["files/just-uploaded"]


def test_expired_files_go(backend: Backend, sweep: Sweep) -> None:
    store(backend, "files/1")
    backend.files.create(
        "default",
        filename="a",
        purpose="batch",
        artifact="files/1",
        file="content",
        expires_in=-1,
    )

    sweep.run()

    assert backend.files.list("default").items == []
    assert list(backend.store.list()) == []


def test_what_is_still_written_to_stays_however_long_it_takes(backend: Backend) -> None:
    with backend.store.create("files/slow") as staging, staging.open("content") as stream:
        (folder,) = (backend.settings.home / "artifacts" / ".staging").iterdir()
        yesterday = time.time() - 90_000
        os.utime(folder, (yesterday, yesterday))
        stream.write(b"a byte a minute")
        assert backend.store.sweep_staging(older_than_seconds=3600) == 0
        for path in (folder, folder / "content"):
            os.utime(path, (yesterday, yesterday))
        assert backend.store.sweep_staging(older_than_seconds=3600) == 1


def test_others_store_and_delete_while_it_sweeps(tmp_path: Path) -> None:
    """What was there when it looked may be gone when it looks closer."""
    store = ArtifactStore(str(tmp_path))
    with store.create("files/1") as staging:
        staging.commit()
    hurry = """
import os
names = [f"{root}/{n}" for n in range(20) for root in (".staging", "files/2")]
while True:
    for name in names:
        os.makedirs(name, exist_ok=True)
        open(f"{name}/manifest.json", "w").close()
    for name in names:
        os.unlink(f"{name}/manifest.json")
        os.rmdir(name)
"""
    other = subprocess.Popen([sys.executable, "-c", hurry], cwd=tmp_path)
    try:
        while not (tmp_path / "files" / "2").exists():
            time.sleep(0.001)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            store.sweep_staging(older_than_seconds=3600)
            assert "files/1" in set(store.list())
    finally:
        other.kill()
        other.wait()
