from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import run
from worker.backend import Backend
from worker.processes.sweep import Sweep
from worker.storage.artifacts import ArtifactStore
from worker.storage.models import NewModel, add_model


def store(backend: Backend, name: str) -> str:
    with backend.store.create(name) as staging:
        with staging.open("content") as stream:
            stream.write(b"text")
        staging.commit()
    return name


@pytest.fixture
def sweep(backend: Backend) -> Sweep:
    return Sweep(backend, young_seconds=-1)  # whatever is there is old enough


def test_only_what_nothing_points_to_goes(backend: Backend, sweep: Sweep) -> None:
    jobs = backend.jobs
    for _ in range(2):
        jobs.submit("default", "training", {})
    finished, live = run(jobs), run(jobs)
    kept = {
        store(backend, f"jobs/{finished.id}/1/step-10"),
        store(backend, f"jobs/{finished.id}/1/model"),
        store(backend, f"jobs/{live.id}/1/step-10"),  # its row may be about to point to it
        store(backend, "files/known"),
        store(backend, "elsewhere/1"),
    }
    orphans = {
        store(backend, f"jobs/{finished.id}/1/step-9"),
        store(backend, "jobs/ftjob-none/1/step-1"),
        store(backend, "files/unknown"),
    }
    jobs.save_checkpoint(finished, artifact=f"jobs/{finished.id}/1/step-10", step=10, metrics={})
    new = NewModel("ft:a", "default", f"jobs/{finished.id}/1/model", "content")
    jobs.succeed(finished, {}, lambda connection: add_model(connection, "default", new, 1.0))
    backend.files.create(
        "default", filename="a", purpose="batch", artifact="files/known", file="content"
    )
    assert set(backend.store.list()) == kept | orphans

    sweep.run()

    assert set(backend.store.list()) == kept


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
